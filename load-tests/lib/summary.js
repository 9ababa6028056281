// The summary that a run prints at its end: each metric, its value, and its threshold.

const OF_K6 = /^(data_|iteration|vus|ws_|http_|checks)/;

/**
 * For `handleSummary`: the script's name, one sentence on what it did, and a line for each of the script's own metrics
 * with failures marked. `SUMMARY=file` also writes all of k6's figures as JSON.
 */
export function summary(script, sentence, data) {
  const rows = Object.entries(data.metrics).filter(([name]) => !OF_K6.test(name)).map(([name, metric]) => row(name, metric));
  const failed = rows.filter(({ ok }) => ok === false);
  const rank = ({ ok }) => [false, true, undefined].indexOf(ok);
  rows.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
  const width = (column) => Math.max(...rows.map((each) => each[column].length));
  const lines = rows.map(({ name, is, must, ok }) => {
    const result = { true: '  ok    ', false: '  FAILED', undefined: '        ' }[ok];
    return `${result}  ${name.padEnd(width('name'))}  ${is.padEnd(width('is'))}  ${must}`.trimEnd();
  });
  const end = failed.length === 0 ? 'passed' : `FAILED: ${failed.map(({ name }) => name).join(', ')}`;
  const files = __ENV.SUMMARY ? { [__ENV.SUMMARY]: JSON.stringify(data, null, 2) } : {};
  return { stdout: `\n${script}: ${sentence}\n\n${lines.join('\n')}\n\n${script}: ${end}\n`, ...files };
}

function row(name, { type, contains, values, thresholds = {} }) {
  const results = Object.values(thresholds);
  const must = Object.keys(thresholds).sort().map((each) => readable(each, contains)).join(', ');
  return { name, is: type === 'trend' ? trend(contains, values) : figure(contains, type === 'gauge' ? values.value : values.count), must,
    ok: results.length === 0 ? undefined : results.every(({ ok }) => ok) };
}

function trend(contains, values) {
  if (values.count === 0) return 'never';
  const of = (name) => figure(contains, values[name]);
  return `median ${of('med')}, 95% ${of('p(95)')}, 99% ${of('p(99)')}, most ${of('max')}`;
}

/** Times are in milliseconds, data in bytes. */
function figure(contains, value) {
  if (value === undefined) return '-';
  if (contains === 'time') return value < 10_000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
  if (contains === 'data') return `${(value / 1048576).toFixed(1)} MiB`;
  return String(Math.round(value * 100) / 100);
}

/** `p(95)<1000` and `count==0` in words. */
function readable(threshold, contains) {
  const [, statistic, relation, limit] = threshold.match(/^(.*?)([<>=]+)(.*)$/);
  const words = { '==': 'must be', '>=': 'at least', '<=': 'at most', '<': 'below' }[relation];
  const percentile = statistic.match(/^p\((\d+)\)$/);
  return `${percentile ? `${percentile[1]}% ` : ''}${words} ${figure(contains, Number(limit))}`;
}

/** The statistics in the lines of trends; `count` shows whether there are samples. */
export const summaryTrendStats = ['med', 'p(95)', 'p(99)', 'max', 'count'];
