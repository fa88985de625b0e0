/**
 * The name of the folder that belongs to a run or to a step path: one component, readable, the same
 * text always the same name, and nothing in it that a shell, make or a URL would take for syntax.
 */
export function stepFolderName(text: string): string {
  const readable = text
    .replaceAll('/', '@')
    .replaceAll('#', '.')
    .replace(/[^A-Za-z0-9@._-]/g, '_')
    .replace(/^[.-]/, '_');
  const isPlain = /^[A-Za-z0-9_/#[\]-]+$/.test(text);
  return isPlain && readable.length <= 120 ? readable : `${readable.slice(0, 80)}-${fnv1a(text)}`;
}

/** 32-bit FNV-1a: tells apart what the readable part no longer can. */
function fnv1a(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return (hash >>> 0).toString(16).padStart(8, '0');
}
