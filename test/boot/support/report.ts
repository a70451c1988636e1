/** The report of an embedded guest: `name=value` lines between its first and its last line. */
const BEGINS = /^directboot-guest: \w+ report begins$/;
const ENDS = "directboot-guest: report ends";

/** The values by name. Throws unless the report is there from its first line to its last. */
export function parseReport(serial: string): ReadonlyMap<string, string> {
  const lines = serial.split("\n").map((line) => line.replace(/\r$/, ""));
  const begin = lines.findIndex((line) => BEGINS.test(line));
  const end = lines.indexOf(ENDS);
  if (begin < 0 || end < begin) throw new Error(`the guest's report is not complete:\n${serial}`);
  return new Map(
    lines.slice(begin + 1, end).map((line) => {
      const at = line.indexOf("=");
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
}

/** A numeric value of a report. Throws if it is missing or no number. */
export function reportNumber(report: ReadonlyMap<string, string>, name: string): bigint {
  const value = report.get(name);
  if (value === undefined || !/^(0x[0-9a-f]+|[0-9]+)$/.test(value)) {
    throw new Error(`the report has no number ${name}: ${value}`);
  }
  return BigInt(value);
}
