-- Prints the outcome of a run of wrk as one line of JSON. No hook runs per request, so it costs nothing.
function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "micros": %d, "p50": %d, "p99": %d, '
         .. '"errors": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
