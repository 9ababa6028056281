use super::*;

const GRACE: Duration = Duration::from_secs(5);
const AWAY: Unavailable = Unavailable("redis is away");

fn channel() -> Channel {
    Channel::new("chat:1").unwrap()
}

fn user(name: &str) -> User {
    Some(name.into())
}

fn attendance(announce: bool, members: &[(&str, u32)]) -> Attendance {
    let member = |(name, sessions): &(&str, u32)| Member {
        user: user(name),
        sessions: *sessions,
        info: None,
    };
    Attendance { channel: channel(), members: members.iter().map(member).collect(), announce }
}

/// A local presence with a clock.
struct LocalPresenceFixture {
    local: LocalPresence,
    now: Instant,
}

impl LocalPresenceFixture {
    fn new() -> Self {
        Self { local: LocalPresence::new(GRACE), now: Instant::now() }
    }

    /// With members that were written to the broker.
    fn with(members: &[(&str, u32)]) -> Self {
        let mut fixture = Self::new();
        for (name, sessions) in members {
            (0..*sessions).for_each(|_| fixture.enter(name));
        }
        fixture.writes(&[attendance(true, members)], Ok(MembershipState::Known));
        fixture
    }

    fn enter(&mut self, name: &str) {
        self.local.enter(&channel(), &user(name), None);
    }

    fn leave(&mut self, name: &str) {
        self.local.leave(&channel(), &user(name), self.now);
    }

    /// Expects these attendances to be written, and gives each this answer.
    fn writes(&mut self, expected: &[Attendance], answer: Result<MembershipState, Unavailable>) {
        let attendances = self.local.take_changes(self.now);
        assert_eq!(attendances, expected);
        self.local.settle(&attendances, &vec![answer; attendances.len()]);
    }

    fn writes_nothing(&mut self) {
        self.writes(&[], Ok(MembershipState::Known));
    }

    /// Expects one renewal with this number of members, and gives it this answer.
    fn is_renewed(&mut self, members: Option<usize>, answer: Result<MembershipState, Unavailable>) {
        self.local.renew_all();
        let renewals = self.local.take_due();
        assert_eq!(renewals, [Renewal { channel: channel(), members }]);
        self.local.settle_renewals(&renewals, &[answer]);
    }

    fn is_empty(&self) -> bool {
        let LocalPresence { channels, in_grace: lingering, changes, due: stale, .. } = &self.local;
        channels.is_empty() && lingering.is_empty() && changes.queue.is_empty() && stale.is_empty()
    }
}

#[test]
fn a_users_first_session_is_announced_and_the_second_only_counted() {
    let mut fixture = LocalPresenceFixture::new();
    fixture.enter("ada");
    fixture.writes(&[attendance(true, &[("ada", 1)])], Ok(MembershipState::Known));
    fixture.enter("ada");
    fixture.writes(&[attendance(false, &[("ada", 2)])], Ok(MembershipState::Known));
    fixture.writes_nothing();
}

#[test]
fn a_user_who_stays_away_leaves_after_the_grace_period_and_is_removed() {
    let mut fixture = LocalPresenceFixture::with(&[("ada", 1)]);
    fixture.leave("ada");
    fixture.writes_nothing();
    assert_eq!(fixture.local.next_grace_end(), Some(fixture.now + GRACE));
    fixture.now += GRACE - Duration::from_millis(1);
    fixture.writes_nothing();
    fixture.now += Duration::from_millis(1);
    fixture.writes(&[attendance(true, &[("ada", 0)])], Ok(MembershipState::Known));
    assert!(fixture.is_empty());
}

#[test]
fn a_user_in_the_grace_period_counts_as_one_session() {
    let mut fixture = LocalPresenceFixture::with(&[("ada", 3)]);
    (0..3).for_each(|_| fixture.leave("ada"));
    fixture.writes(&[attendance(false, &[("ada", 1)])], Ok(MembershipState::Known));
}

#[test]
fn a_user_who_returns_within_the_grace_period_causes_no_leave() {
    let mut fixture = LocalPresenceFixture::with(&[("ada", 1)]);
    for _ in 0..3 {
        fixture.leave("ada");
        fixture.now += GRACE / 2;
        fixture.enter("ada");
        fixture.writes_nothing();
    }
    fixture.now += GRACE;
    fixture.writes_nothing();
    assert_eq!(fixture.local.next_grace_end(), None);
}

#[test]
fn without_grace_a_leave_is_written_immediately_and_a_short_visit_not_at_all() {
    let mut fixture =
        LocalPresenceFixture { local: LocalPresence::new(Duration::ZERO), now: Instant::now() };
    fixture.enter("ada");
    fixture.leave("ada");
    fixture.writes_nothing();
    assert!(fixture.is_empty());
    fixture.enter("ada");
    fixture.writes(&[attendance(true, &[("ada", 1)])], Ok(MembershipState::Known));
    fixture.leave("ada");
    fixture.writes(&[attendance(true, &[("ada", 0)])], Ok(MembershipState::Known));
    assert!(fixture.is_empty());
}

#[test]
fn a_failed_write_is_repeated_with_the_current_state() {
    let mut fixture = LocalPresenceFixture::new();
    fixture.enter("ada");
    fixture.writes(&[attendance(true, &[("ada", 1)])], Err(AWAY));
    fixture.enter("ada");
    fixture.enter("bo");
    fixture.writes(&[attendance(true, &[("ada", 2), ("bo", 1)])], Err(AWAY));
    fixture.leave("ada");
    fixture.writes(&[attendance(true, &[("ada", 1), ("bo", 1)])], Ok(MembershipState::Known));
    fixture.writes_nothing();
}

#[test]
fn a_failed_leave_is_written_later() {
    let mut fixture = LocalPresenceFixture::with(&[("ada", 1)]);
    fixture.leave("ada");
    fixture.now += GRACE;
    fixture.writes(&[attendance(true, &[("ada", 0)])], Err(AWAY));
    fixture.writes(&[attendance(true, &[("ada", 0)])], Ok(MembershipState::Known));
    assert!(fixture.is_empty());
}

#[test]
fn changes_during_a_broker_call_are_written_in_the_next_call() {
    let mut fixture =
        LocalPresenceFixture { local: LocalPresence::new(Duration::ZERO), now: Instant::now() };
    fixture.enter("ada");
    let joining = fixture.local.take_changes(fixture.now);
    fixture.leave("ada");
    fixture.local.settle(&joining, &[Ok(MembershipState::Known)]);
    let leaving = fixture.local.take_changes(fixture.now);
    assert_eq!(leaving, [attendance(true, &[("ada", 0)])]);
    fixture.enter("ada");
    fixture.local.settle(&leaving, &[Ok(MembershipState::Known)]);
    fixture.writes(&[attendance(true, &[("ada", 1)])], Ok(MembershipState::Known));
}

#[test]
fn forgotten_members_are_rewritten_unannounced_and_removed_ones_rejoin() {
    for (membership, announce) in
        [(MembershipState::Forgotten, false), (MembershipState::Removed, true)]
    {
        let mut fixture = LocalPresenceFixture::with(&[("ada", 2)]);
        fixture.is_renewed(Some(1), Ok(membership));
        fixture.writes(&[attendance(announce, &[("ada", 2)])], Ok(membership));
        fixture.writes_nothing();
        fixture.enter("bo");
        fixture.writes(&[attendance(true, &[("bo", 1)])], Ok(MembershipState::Known));
    }
}

#[test]
fn a_forgotten_member_with_a_queued_leave_is_written_as_left() {
    let mut fixture = LocalPresenceFixture::with(&[("ada", 1), ("bo", 1)]);
    fixture.leave("ada");
    fixture.now += GRACE;
    fixture.writes(&[attendance(true, &[("ada", 0)])], Err(AWAY));
    fixture.is_renewed(None, Ok(MembershipState::Forgotten));
    fixture.writes(
        &[attendance(true, &[("ada", 0)]), attendance(false, &[("bo", 1)])],
        Ok(MembershipState::Known),
    );
    fixture.is_renewed(Some(1), Ok(MembershipState::Known));
}

#[test]
fn a_write_that_finds_the_node_forgotten_rewrites_its_other_members() {
    let mut fixture = LocalPresenceFixture::with(&[("ada", 2)]);
    fixture.enter("bo");
    fixture.writes(&[attendance(true, &[("bo", 1)])], Ok(MembershipState::Forgotten));
    fixture.writes(&[attendance(false, &[("ada", 2)])], Ok(MembershipState::Known));
    fixture.writes_nothing();
}

#[test]
fn a_member_rewritten_unannounced_leaves_announced() {
    let mut fixture = LocalPresenceFixture::with(&[("ada", 1)]);
    fixture.is_renewed(Some(1), Ok(MembershipState::Forgotten));
    fixture.writes(&[attendance(false, &[("ada", 1)])], Err(AWAY));
    fixture.writes(&[attendance(false, &[("ada", 1)])], Ok(MembershipState::Forgotten));
    fixture.leave("ada");
    fixture.now += GRACE;
    fixture.writes(&[attendance(true, &[("ada", 0)])], Ok(MembershipState::Known));
}

#[test]
fn a_renewal_contains_the_number_of_members_if_it_is_known() {
    let mut fixture = LocalPresenceFixture::with(&[("ada", 2), ("bo", 1)]);
    fixture.enter("cy");
    fixture.is_renewed(Some(2), Ok(MembershipState::Known));
    fixture.writes(&[attendance(true, &[("cy", 1)])], Err(AWAY));
    fixture.is_renewed(None, Ok(MembershipState::Known));
    fixture.writes(&[attendance(true, &[("cy", 1)])], Ok(MembershipState::Known));
    fixture.is_renewed(Some(3), Ok(MembershipState::Known));
}

#[test]
fn a_failed_renewal_is_due_again() {
    let mut fixture = LocalPresenceFixture::with(&[("ada", 1)]);
    fixture.is_renewed(Some(1), Err(AWAY));
    assert_eq!(fixture.local.take_due().len(), 1);
    assert!(fixture.local.take_due().is_empty());
}

#[test]
fn presence_batches_are_bounded_and_lose_no_member() {
    let mut local = LocalPresence::new(GRACE);
    let now = Instant::now();
    let channels: Vec<Channel> =
        (0..RENEWALS_MAX + 1).map(|n| Channel::new(&format!("c{n}")).unwrap()).collect();
    for channel in &channels {
        (0..3).for_each(|n| local.enter(channel, &user(&format!("u{n}")), None));
    }
    let mut written = 0;
    loop {
        let attendances = local.take_changes(now);
        let members: usize = attendances.iter().map(|it| it.members.len()).sum();
        if members == 0 {
            break;
        }
        assert!(members <= ATTENDANCES_MAX, "{members}");
        written += members;
        let answers = vec![Ok(MembershipState::Known); attendances.len()];
        assert_eq!(local.settle(&attendances, &answers), written as u64);
    }
    assert_eq!((written, local.changes()), (channels.len() * 3, written as u64));
    local.renew_all();
    assert_eq!(local.take_due().len(), RENEWALS_MAX);
    assert_eq!(local.take_due().len(), 1);
}

#[test]
fn the_newest_tokens_info_is_written_and_an_older_one_changes_nothing() {
    let info = |name: &str, at| UserInfo::new(&format!(r#"{{"name":"{name}"}}"#), at);
    let written = |sessions, info: &Option<UserInfo>, announce| {
        let member = Member { user: user("ada"), sessions, info: info.clone() };
        Attendance { channel: channel(), members: vec![member], announce }
    };
    let mut fixture = LocalPresenceFixture::new();
    let (old, new) = (info("Ada", 1), info("Countess", 2));
    fixture.local.enter(&channel(), &user("ada"), old.as_ref());
    fixture.writes(&[written(1, &old, true)], Ok(MembershipState::Known));
    // A renewed token: the session enters again before it leaves.
    fixture.local.enter(&channel(), &user("ada"), new.as_ref());
    fixture.leave("ada");
    fixture.writes(&[written(1, &new, false)], Ok(MembershipState::Known));
    fixture.local.enter(&channel(), &user("ada"), old.as_ref());
    fixture.writes(&[written(2, &new, false)], Ok(MembershipState::Known));
    fixture.leave("ada");
    fixture.writes(&[written(1, &new, false)], Ok(MembershipState::Known));
    fixture.local.enter(&channel(), &user("ada"), None);
    fixture.leave("ada");
    fixture.writes_nothing();
    // Redis has lost it.
    fixture.is_renewed(Some(1), Ok(MembershipState::Forgotten));
    fixture.writes(&[written(1, &new, false)], Ok(MembershipState::Known));
    fixture.leave("ada");
    fixture.now += GRACE;
    fixture.writes(&[written(0, &new, true)], Ok(MembershipState::Known));
    assert!(fixture.is_empty());
}
