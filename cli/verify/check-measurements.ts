import { createHash } from 'node:crypto';
import type { OpenBundle } from '../../adapters/bundle/read-bundle.js';
import { measurementSchema, type Measurement } from '../../compiler/values.js';
import { isJsonObject, type Json, type JsonObject } from '../../core/json.js';
import { measuredConditions } from '../../core/measured-conditions.js';
import { parsePythonJson } from '../../core/python-json.js';
import { readConsoleMetric, readResultMetric } from '../../core/result-metric.js';
import {
  assertBounded,
  canonical,
  check,
  checksWithoutRecord,
  failed,
  outputsOf,
  readFileOf,
  shaped,
  stepsOf,
  type Check,
} from './check.js';

/** Whether each measurement says what the benchmark left behind: its numbers, and how they were measured. */
export async function checkMeasurements(bundle: OpenBundle): Promise<Check[]> {
  const checks = checksWithoutRecord(bundle, 'measurement', 'task.benchmark');
  for (const record of stepsOf(bundle, 'task.benchmark')) {
    const outputs = outputsOf(record);
    if (outputs === null) continue;
    checks.push(
      await check('measurement', record.name, async () => {
        const measurement = shaped(outputs['measurement'], measurementSchema, 'the measurement');
        return measurement.resultFile === undefined
          ? agreesWithLog(bundle, measurement)
          : agreesWithResult(bundle, measurement, measurement.resultFile.sha256);
      }),
    );
  }
  return checks;
}

async function agreesWithLog(bundle: OpenBundle, measurement: Measurement): Promise<string> {
  const log = (await readFileOf(bundle, measurement.log.sha256, 'its output')).toString('utf8');
  for (const { metric, value } of numbersOf(measurement)) {
    const reading = readConsoleMetric(log, metric);
    if (reading.kind !== 'value' || reading.value !== value)
      throw failed(`its output does not say ${metric} ${value}`);
  }
  return `${measurement.metric} ${measurement.value}, as its output says`;
}

async function agreesWithResult(
  bundle: OpenBundle,
  measurement: Measurement,
  sha256: string,
): Promise<string> {
  const content = parseResult(await readFileOf(bundle, sha256, 'its result file'));
  for (const { metric, value } of numbersOf(measurement)) {
    const reading = readResultMetric(content, metric);
    if (reading.kind !== 'value' || reading.value !== value)
      throw failed(`its result file does not say ${metric} ${value}`);
  }
  const { heldout, runtime, device } = measuredConditions(content);
  const { fingerprint } = measurement;
  if (digest(heldout) !== fingerprint.heldoutSha256)
    throw failed('its result file is of other held-out documents than its fingerprint says');
  if (digest(runtime) !== fingerprint.runtimeSha256 || device !== fingerprint.device)
    throw failed('its result file is of another runtime than its fingerprint says');
  return `${measurement.metric} ${measurement.value}, as its result file says`;
}

function numbersOf({ metric, value, secondary }: Measurement) {
  return [{ metric, value }, ...(secondary === undefined ? [] : [secondary])];
}

function parseResult(bytes: Buffer): JsonObject {
  assertBounded(bytes, 'its result file');
  let content: Json;
  try {
    content = parsePythonJson(bytes.toString('utf8'));
  } catch {
    throw failed('its result file is no JSON');
  }
  return isJsonObject(content) ? content : {};
}

function digest(value: Json): string {
  return createHash('sha256').update(canonical(value)).digest('hex');
}
