-- Sends the requests of a file in random order, and tells the result as one line of JSON.
-- Each line of the file is a token, a tabulator and a body.

local requests = {}

function init(arguments)
   for line in io.lines(arguments[1]) do
      local token, body = line:match("^([^\t]+)\t(.*)$")
      local headers = {
         ["Authorization"] = "Bearer " .. token,
         ["Content-Type"] = "application/json",
      }
      -- Made once, so that the load generator costs little beside what it measures.
      requests[#requests + 1] = wrk.format("POST", nil, headers, body)
   end
   math.randomseed(tonumber(arguments[2]))
end

function request()
   return requests[math.random(#requests)]
end

function done(summary, latency)
   local failed = 0
   for _, count in pairs(summary.errors) do
      failed = failed + count
   end
   local result = '{"requests": %d, "failed": %d, "duration_us": %d, '
      .. '"p50_us": %d, "p90_us": %d, "p99_us": %d, "max_us": %d}\n'
   io.write(result:format(
      summary.requests, failed, summary.duration,
      latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max
   ))
end
