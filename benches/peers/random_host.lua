-- Asks one of `count` sites each time, every one as often: wrk -s random_host.lua URL -- count
local requests = {}

function init(arguments)
    for number = 1, tonumber(arguments[1]) do
        requests[number] = wrk.format(nil, nil, { Host = "site" .. number .. ".example" })
    end
end

function request()
    return requests[math.random(#requests)]
end
