//! The register and deregister calls of the last 72 hours, counted by all instances together.
//!
//! `curfew:{number:ID}:register` and `…:deregister` are sorted sets: the score is when a call was noted, in milliseconds by
//! the clock of whoever noted it, the member is that and what tells it from others of the same moment.

use std::sync::LazyLock;
use std::time::Duration;

use curfew_policies::{PhoneNumberId, Timestamp};
use redis::Script;

use super::Valkey;
use crate::stores::StoreError;
use crate::stores::registrations::{Note, RegistrationCall, name_of_call};

/// Notes a call at ARGV[1] unless ARGV[3] count already, of those after ARGV[2]; keeps the key for ARGV[4] milliseconds.
/// Says how many count, and whether it was noted.
static NOTE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[2])
         local calls = redis.call('ZCARD', KEYS[1])
         if calls >= tonumber(ARGV[3]) then return {calls, 0} end
         local nth = 0
         while redis.call('ZADD', KEYS[1], 'NX', ARGV[1], ARGV[1] .. '-' .. nth) == 0 do nth = nth + 1 end
         redis.call('PEXPIRE', KEYS[1], ARGV[4])
         return {calls + 1, 1}",
    )
});

/// Takes back one call of ARGV[1].
static TAKE_BACK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local calls = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[1], 'LIMIT', 0, 1)
         if calls[1] then redis.call('ZREM', KEYS[1], calls[1]) end
         return 0",
    )
});

impl Valkey {
    /// How many calls count: those after `not_counted`.
    pub(in crate::stores) async fn recent_calls(
        &self,
        number: PhoneNumberId,
        call: RegistrationCall,
        not_counted: Option<Timestamp>,
    ) -> Result<u32, StoreError> {
        let mut count = redis::cmd("ZCOUNT");
        count
            .arg(key(number, call))
            .arg(not_counted.map_or("-inf".to_owned(), |last| format!("({}", last.millis())))
            .arg("+inf");
        self.link.ask(&count).await
    }

    /// Notes a call of `now`, unless `most` count already.
    pub(in crate::stores) async fn note_call(
        &self,
        number: PhoneNumberId,
        call: RegistrationCall,
        now: Timestamp,
        (not_counted, window): (Option<Timestamp>, Duration),
        most: u32,
    ) -> Result<Note, StoreError> {
        let mut note = NOTE.key(key(number, call));
        note.arg(now.millis())
            .arg(not_counted.map_or(-1, |last| i64::try_from(last.millis()).unwrap_or(i64::MAX)))
            .arg(most)
            .arg(u64::try_from(window.as_millis()).unwrap_or(u64::MAX));
        let (calls, is_taken): (u32, bool) = self.link.run(&note).await?;
        Ok(if is_taken {
            Note::Taken { calls, at: now }
        } else {
            Note::Full { calls }
        })
    }

    /// Takes back the note of a call that was made `at` this time.
    pub(in crate::stores) async fn take_back_call(
        &self,
        number: PhoneNumberId,
        call: RegistrationCall,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut take_back = TAKE_BACK.key(key(number, call));
        take_back.arg(at.millis());
        self.link.run(&take_back).await
    }
}

fn key(number: PhoneNumberId, call: RegistrationCall) -> String {
    format!("curfew:{{number:{number}}}:{}", name_of_call(call))
}
