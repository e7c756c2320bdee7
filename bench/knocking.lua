-- wrk: posts the requests of a file in turn (each with its length on a line before it), tells what came of them.
local posts, turn = {}, 0
refused = 0  -- global: thread:get reads it
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  while true do
    local length = file:read("*n")
    if not length then break end
    file:read("*l")
    posts[#posts + 1] = file:read(length)
  end
  file:close()
end

function request()
  turn = turn % #posts + 1
  return posts[turn]
end

function response(status)
  if status ~= 202 then refused = refused + 1 end
end

function done(summary, latency)
  local errors = summary.errors
  local wrong = errors.connect + errors.read + errors.write + errors.timeout
  for _, thread in ipairs(threads) do wrong = wrong + (thread:get("refused") or 0) end
  print(string.format('{"rate": %.1f, "p50": %.3f, "p99": %.3f, "p999": %.3f, "errors": %d}',
    summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3, wrong))
end
