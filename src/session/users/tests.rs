use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::auth::unix_millis;
use crate::publication::{NodeId, SessionId};

fn users() -> Users {
    Users::new(Revocations::new(Duration::from_secs(3600)))
}

fn outbound(number: u64) -> Arc<Outbound> {
    Arc::new(Outbound::new(SessionId { node: NodeId::random(), number }, 1 << 20))
}

/// The time `from_now` milliseconds from now, and the same in Unix milliseconds.
fn moment(from_now: i64) -> (SystemTime, u64) {
    let millis = unix_millis(SystemTime::now()).saturating_add_signed(from_now);
    (UNIX_EPOCH + Duration::from_millis(millis), millis)
}

#[test]
fn a_revocation_closes_only_sessions_with_earlier_tokens() {
    let users = users();
    let ((old, _), (_, before), (young, _)) = (moment(-20_000), moment(-10_000), moment(-5000));
    let sessions = [1, 2, 3, 4].map(outbound);
    let _guards = [
        users.enter("ada".into(), Some(old), sessions[0].clone()),
        users.enter("ada".into(), None, sessions[1].clone()),
        users.enter("ada".into(), Some(young), sessions[2].clone()),
        users.enter("bo".into(), Some(old), sessions[3].clone()),
    ];
    assert_eq!(users.revoke("ada", before), 2);
    let closing = sessions.each_ref().map(|outbound| outbound.closing());
    assert_eq!(closing, [Some(Close::Revoked), Some(Close::Revoked), None, None]);
    assert_eq!(users.revoke("ada", before), 0, "nothing new");
    assert_eq!(users.revoke("ada", before + 6000), 1, "those already closing do not count");
}

#[test]
fn an_ended_session_frees_its_slot_and_the_last_one_frees_the_user() {
    let users = users();
    let enter = |number| users.enter_within("ada".into(), None, outbound(number), 2);
    let (first, second) = (enter(1).unwrap(), enter(2).unwrap());
    assert_eq!(enter(3).err(), Some(UserRefusal::Full));
    drop(first);
    assert_eq!(users.count("ada"), 1);
    let third = enter(4).unwrap();
    assert_eq!(users.count("ada"), 2);
    drop((second, third));
    assert_eq!(users.count("ada"), 0);
    assert!(users.0.shards.each().all(|shard| shard.is_empty()));
}

#[test]
fn free_session_slots_are_reused_and_used_ones_keep_their_session() {
    let users = users();
    let sessions: Vec<_> = (0..100).map(outbound).collect();
    let enter = |it: &Arc<Outbound>| users.enter("ada".into(), None, it.clone());
    let mut guards: Vec<_> = sessions.iter().map(|it| Some(enter(it))).collect();
    for slot in (0..100).step_by(3) {
        guards[slot] = None;
    }
    let again: Vec<_> = (100..120).map(outbound).collect();
    let _again: Vec<_> = again.iter().map(enter).collect();
    assert_eq!(users.count("ada"), 66 + 20);
    assert_eq!(users.close_revoked("ada", 0), 66 + 20);
    for (slot, session) in sessions.iter().enumerate() {
        assert_eq!(session.closing().is_some(), slot % 3 != 0, "{slot}");
    }
}

#[test]
fn a_revoked_token_is_refused_and_sessions_without_a_user_are_not_counted() {
    let users = users();
    let ((old, _), (_, before), (young, _)) = (moment(-20_000), moment(-10_000), moment(-5000));
    let ada = |issued_at| Identity {
        user: Some("ada".into()),
        issued_at: Some(issued_at),
        ..Identity::default()
    };
    users.revoke("ada", before);
    assert_eq!(users.admit(&ada(old), &outbound(1), 1).err(), Some(UserRefusal::Revoked));
    assert_eq!(users.count("ada"), 0, "a refused session is not counted");
    let admitted = users.admit(&ada(young), &outbound(2), 1).unwrap();
    assert_eq!(admitted.as_ref().and_then(Entered::user).as_deref(), Some("ada"));
    assert_eq!(users.admit(&ada(young), &outbound(3), 1).err(), Some(UserRefusal::Full));
    assert!(users.admit(&Identity::default(), &outbound(4), 0).unwrap().is_none());
}

/// A session that is admitted while its user is revoked is either refused or closed.
#[test]
fn no_session_escapes_a_revocation_that_runs_during_its_admission() {
    for _ in 0..200 {
        let users = users();
        let (old, before) = moment(-1000);
        let identity =
            Identity { user: Some("ada".into()), issued_at: Some(old), ..Identity::default() };
        let session = outbound(1);
        let barrier = std::sync::Barrier::new(2);
        let admitted = std::thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                users.revoke("ada", before + 1);
            });
            barrier.wait();
            users.admit(&identity, &session, usize::MAX)
        });
        assert!(admitted.is_err() || session.closing() == Some(Close::Revoked));
    }
}
