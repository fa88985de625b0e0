import { afterEach, expect, it, vi } from 'vitest';
import { listenForInterruption } from './interruption.js';

afterEach(() => vi.restoreAllMocks());

it('aborts on the first Ctrl-C; the second ends the command at once and says how things stand', () => {
  let told = '';
  const exit = vi.spyOn(process, 'exit').mockImplementation((() => undefined) as never);
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    told += String(text);
    return true;
  });
  const interruption = listenForInterruption(() => 'The run goes on.');
  try {
    process.emit('SIGINT');
    expect(interruption.signal.reason).toMatchObject({ code: 'INTERRUPTED', exitCode: 130 });
    expect(exit).not.toHaveBeenCalled();
    process.emit('SIGINT');
    expect(exit).toHaveBeenCalledWith(130);
    expect(told).toBe('The run goes on.\n');
  } finally {
    interruption.dispose();
  }
});
