/** Temporal keeps at most 400 bytes of a summary, encoded. */
export function clipSummary(text: string): string {
  return text.length <= 120 ? text : `${text.slice(0, 119)}…`;
}
