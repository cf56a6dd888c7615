//! What must happen in Redis in one step.
//!
//! `KEYS[1]` is the log of purges, `KEYS[2]` the hash of one URL. Whatever key is gone, or is something else by now,
//! counts as empty.

use redis::Script;

/// Most purges that the log keeps: 16,384. A store that starts later takes what is older than those for purged.
pub(super) const MOST_LOGGED: u64 = 16_384;

/// Most variants of one URL: 16.
pub(super) const MOST_VARIANTS: u64 = 16;

pub(super) struct Scripts {
    /// `run incarnation`: sets the log up, anew if it is another server's, or gone.
    pub(super) join: Script,
    /// `bucket`: gives the log's head and the URL's hash.
    pub(super) look: Script,
    /// `incarnation purge`: adds to the log; gives its time and number, or nothing in another incarnation.
    pub(super) log: Script,
    /// `incarnation bucket`: removes a URL; gives the time and the number of its objects, or nothing.
    pub(super) remove: Script,
    /// `incarnation bucket born id variant record body ttl most_bytes`: stores an object, unless it was purged.
    pub(super) put: Script,
    /// `incarnation id old_variant new_variant record ttl`: replaces a record; gives whether it was there.
    pub(super) renew: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            join: Script::new(JOIN),
            look: Script::new(LOOK),
            log: Script::new(&LOG.replace("MOST", &MOST_LOGGED.to_string())),
            remove: Script::new(REMOVE),
            put: Script::new(&PUT.replace("MOST", &MOST_VARIANTS.to_string())),
            renew: Script::new(RENEW),
        }
    }
}

const JOIN: &str = r"
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then redis.call('DEL', KEYS[1]) end
local head = redis.call('HMGET', KEYS[1], 'run', 'inc')
if head[1] ~= ARGV[1] or not head[2] then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'run', ARGV[1], 'inc', ARGV[2], 'clk', 1, 'cnt', 0, 'low', 1)
end
return redis.call('HMGET', KEYS[1], 'inc', 'clk', 'cnt', 'low')
";

const LOOK: &str = r"
local head = redis.pcall('HMGET', KEYS[1], 'inc', 'clk', 'cnt', 'low', ARGV[1])
if head.err then head = {} end
local fields = redis.pcall('HGETALL', KEYS[2])
if fields.err then fields = {} end
return {head, fields}
";

const LOG: &str = r"
if redis.pcall('HGET', KEYS[1], 'inc') ~= ARGV[1] then return false end
local clk = redis.call('HINCRBY', KEYS[1], 'clk', 1)
local cnt = redis.call('HINCRBY', KEYS[1], 'cnt', 1)
redis.call('HSET', KEYS[1], 'p:' .. cnt, string.format('%d ', clk) .. ARGV[2])
local low = tonumber(redis.call('HGET', KEYS[1], 'low')) or 1
while cnt - low >= MOST do
  redis.call('HDEL', KEYS[1], 'p:' .. low)
  low = low + 1
end
redis.call('HSET', KEYS[1], 'low', low)
return {clk, cnt}
";

const REMOVE: &str = r"
if redis.pcall('HGET', KEYS[1], 'inc') ~= ARGV[1] then return false end
local clk = redis.call('HINCRBY', KEYS[1], 'clk', 1)
redis.call('HSET', KEYS[1], ARGV[2], clk)
local objects = 0
if redis.call('TYPE', KEYS[2]).ok == 'hash' then objects = redis.call('HLEN', KEYS[2]) / 2 end
redis.call('DEL', KEYS[2])
return {clk, objects}
";

const PUT: &str = r"
local head = redis.pcall('HMGET', KEYS[1], 'inc', ARGV[2])
if head.err or head[1] ~= ARGV[1] then return 'purged' end
if (tonumber(head[2] or '0') or 0) > tonumber(ARGV[3]) then return 'purged' end
if redis.call('TYPE', KEYS[2]).ok ~= 'hash' then redis.call('DEL', KEYS[2]) end
local others = {}
for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
  local id, variant = string.match(field, '^m:(%x+):(%x+)$')
  if variant == ARGV[5] then
    if id > ARGV[4] then return 'older' end
    redis.call('HDEL', KEYS[2], field, 'b:' .. id .. ':' .. variant)
  elseif id then
    table.insert(others, id .. ':' .. variant)
  end
end
local name = ARGV[4] .. ':' .. ARGV[5]
redis.call('HSET', KEYS[2], 'm:' .. name, ARGV[6], 'b:' .. name, ARGV[7])
table.sort(others, function(one, other) return one > other end)
local bytes, count = #ARGV[7], 1
for _, other in ipairs(others) do
  bytes = bytes + redis.call('HSTRLEN', KEYS[2], 'b:' .. other)
  count = count + 1
  if count > MOST or bytes > tonumber(ARGV[9]) then
    redis.call('HDEL', KEYS[2], 'm:' .. other, 'b:' .. other)
  end
end
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[8]) then redis.call('PEXPIRE', KEYS[2], ARGV[8]) end
return 'stored'
";

const RENEW: &str = r"
if redis.pcall('HGET', KEYS[1], 'inc') ~= ARGV[1] then return 0 end
if redis.call('TYPE', KEYS[2]).ok ~= 'hash' then return 0 end
local old, new = ARGV[2] .. ':' .. ARGV[3], ARGV[2] .. ':' .. ARGV[4]
local body = redis.call('HGET', KEYS[2], 'b:' .. old)
if not body or redis.call('HEXISTS', KEYS[2], 'm:' .. old) == 0 then return 0 end
if old ~= new then
  redis.call('HSET', KEYS[2], 'b:' .. new, body)
  redis.call('HDEL', KEYS[2], 'm:' .. old, 'b:' .. old)
end
redis.call('HSET', KEYS[2], 'm:' .. new, ARGV[5])
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[6]) then redis.call('PEXPIRE', KEYS[2], ARGV[6]) end
return 1
";
