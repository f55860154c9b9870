"""The queue's atomic steps as Redis scripts.

A work topic is a stream with one group. Beside it lie: ``<topic>:order:<key>``, a list of the unfinished messages of a
key in their order; ``<topic>:parked``, the delivered messages that wait for an earlier one of their key; and
``<topic>:reasons``, why a message's last delivery failed. Who owns a message is what the group's pending list says, so
every script asks that first: a process that was paused for long finds that another has taken over.
"""

from __future__ import annotations

from typing import Final

PUBLISH: Final = """
-- KEYS stream, order list · ARGV key, value, seconds after which an untouched order list may go
local id = redis.call('XADD', KEYS[1], '*', 'k', ARGV[1], 'v', ARGV[2])
redis.call('RPUSH', KEYS[2], id)
redis.call('EXPIRE', KEYS[2], ARGV[3])
return id
"""

ADMIT: Final = """
-- KEYS stream, order list, parked set · ARGV group, consumer, id → go, wait or lost
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if #pending == 0 or pending[1][2] ~= ARGV[2] then return 'lost' end
while true do
  local head = redis.call('LINDEX', KEYS[2], 0)
  if not head or head == ARGV[3] then
    redis.call('SREM', KEYS[3], ARGV[3])
    return 'go'
  end
  if #redis.call('XRANGE', KEYS[1], head, head) > 0 then
    local uncounted = math.max(0, pending[1][4] - 1)
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'RETRYCOUNT', uncounted, 'JUSTID')
    redis.call('SADD', KEYS[3], ARGV[3])
    return 'wait'
  end
  redis.call('LPOP', KEYS[2])
end
"""

FINISH: Final = """
-- KEYS stream, order list, parked set, reasons, dead stream · ARGV group, consumer, id, dead letter or '', dead kept
-- → the next message of the key, now this consumer's: {id, fields, deliveries}, or nothing
local acknowledged = redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
if ARGV[4] ~= '' and acknowledged == 1 then
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[5], '*', 'k', ARGV[3], 'v', ARGV[4])
end
redis.call('XDEL', KEYS[1], ARGV[3])
redis.call('LREM', KEYS[2], 1, ARGV[3])
redis.call('SREM', KEYS[3], ARGV[3])
redis.call('HDEL', KEYS[4], ARGV[3])
local following = redis.call('LINDEX', KEYS[2], 0)
if not following or redis.call('SREM', KEYS[3], following) == 0 then return nil end
local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, following)
if #claimed == 0 or not claimed[1] then return nil end
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], following, following, 1)
return {claimed[1][1], claimed[1][2], pending[1][4]}
"""

RENEW: Final = """
-- KEYS stream · ARGV group, consumer, ids... → the ids that are no longer this consumer's
local lost = {}
for index = 3, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[index], ARGV[index], 1)
  if #pending > 0 and pending[1][2] == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[index], 'JUSTID')
  else
    lost[#lost + 1] = ARGV[index]
  end
end
return lost
"""

RELEASE: Final = """
-- KEYS stream, reasons · ARGV group, consumer, id, idle milliseconds, deliveries that count, reason or ''
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if #pending == 0 or pending[1][2] ~= ARGV[2] then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'IDLE', ARGV[4], 'RETRYCOUNT', ARGV[5], 'JUSTID')
if ARGV[6] ~= '' then redis.call('HSET', KEYS[2], ARGV[3], ARGV[6]) end
return 1
"""

LEAVE: Final = """
-- KEYS stream · ARGV group, consumer: forgets a consumer that holds nothing
local held = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if #held == 0 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
return #held
"""
