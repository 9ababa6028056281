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
    let member = |(name, sessions): &(&str, u32)| Member { user: user(name), sessions: *sessions };
    Attendance { channel: channel(), members: members.iter().map(member).collect(), announce }
}

/// A local presence with a clock.
struct LocalPresenceFixture {
    roll: LocalPresence,
    now: Instant,
}

impl LocalPresenceFixture {
    fn new() -> Self {
        Self { roll: LocalPresence::new(GRACE), now: Instant::now() }
    }

    /// With members that were written to the broker.
    fn with(members: &[(&str, u32)]) -> Self {
        let mut scene = Self::new();
        for (name, sessions) in members {
            (0..*sessions).for_each(|_| scene.enter(name));
        }
        scene.writes(&[attendance(true, members)], Ok(MembershipState::Known));
        scene
    }

    fn enter(&mut self, name: &str) {
        self.roll.enter(&channel(), &user(name));
    }

    fn leave(&mut self, name: &str) {
        self.roll.leave(&channel(), &user(name), self.now);
    }

    /// Expects these attendances to be written, and gives each this answer.
    fn writes(&mut self, expected: &[Attendance], answer: Result<MembershipState, Unavailable>) {
        let attendances = self.roll.take_changes(self.now);
        assert_eq!(attendances, expected);
        self.roll.settle(&attendances, &vec![answer; attendances.len()]);
    }

    fn writes_nothing(&mut self) {
        self.writes(&[], Ok(MembershipState::Known));
    }

    /// Expects one renewal with this number of members, and gives it this answer.
    fn is_renewed(&mut self, members: Option<usize>, answer: Result<MembershipState, Unavailable>) {
        self.roll.renew_all();
        let renewals = self.roll.take_stale();
        assert_eq!(renewals, [Renewal { channel: channel(), members }]);
        self.roll.settle_renewals(&renewals, &[answer]);
    }

    fn is_empty(&self) -> bool {
        let LocalPresence { channels, lingering, changes, stale, .. } = &self.roll;
        channels.is_empty() && lingering.is_empty() && changes.queue.is_empty() && stale.is_empty()
    }
}

#[test]
fn a_users_first_session_is_news_and_the_second_a_number() {
    let mut scene = LocalPresenceFixture::new();
    scene.enter("ada");
    scene.writes(&[attendance(true, &[("ada", 1)])], Ok(MembershipState::Known));
    scene.enter("ada");
    scene.writes(&[attendance(false, &[("ada", 2)])], Ok(MembershipState::Known));
    scene.writes_nothing();
}

#[test]
fn who_stays_away_lingers_for_the_grace_and_leaves_nothing_behind() {
    let mut scene = LocalPresenceFixture::with(&[("ada", 1)]);
    scene.leave("ada");
    scene.writes_nothing();
    assert_eq!(scene.roll.next_end(), Some(scene.now + GRACE));
    scene.now += GRACE - Duration::from_millis(1);
    scene.writes_nothing();
    scene.now += Duration::from_millis(1);
    scene.writes(&[attendance(true, &[("ada", 0)])], Ok(MembershipState::Known));
    assert!(scene.is_empty());
}

#[test]
fn who_lingers_counts_as_one_session() {
    let mut scene = LocalPresenceFixture::with(&[("ada", 3)]);
    (0..3).for_each(|_| scene.leave("ada"));
    scene.writes(&[attendance(false, &[("ada", 1)])], Ok(MembershipState::Known));
}

#[test]
fn who_comes_back_within_the_grace_never_left() {
    let mut scene = LocalPresenceFixture::with(&[("ada", 1)]);
    for _ in 0..3 {
        scene.leave("ada");
        scene.now += GRACE / 2;
        scene.enter("ada");
        scene.writes_nothing();
    }
    scene.now += GRACE;
    scene.writes_nothing();
    assert_eq!(scene.roll.next_end(), None);
}

#[test]
fn without_grace_a_leave_is_told_at_once_and_a_passage_not_at_all() {
    let mut scene =
        LocalPresenceFixture { roll: LocalPresence::new(Duration::ZERO), now: Instant::now() };
    scene.enter("ada");
    scene.leave("ada");
    scene.writes_nothing();
    assert!(scene.is_empty());
    scene.enter("ada");
    scene.writes(&[attendance(true, &[("ada", 1)])], Ok(MembershipState::Known));
    scene.leave("ada");
    scene.writes(&[attendance(true, &[("ada", 0)])], Ok(MembershipState::Known));
    assert!(scene.is_empty());
}

#[test]
fn what_could_not_be_written_is_written_later_as_it_then_is() {
    let mut scene = LocalPresenceFixture::new();
    scene.enter("ada");
    scene.writes(&[attendance(true, &[("ada", 1)])], Err(AWAY));
    scene.enter("ada");
    scene.enter("bo");
    scene.writes(&[attendance(true, &[("ada", 2), ("bo", 1)])], Err(AWAY));
    scene.leave("ada");
    scene.writes(&[attendance(true, &[("ada", 1), ("bo", 1)])], Ok(MembershipState::Known));
    scene.writes_nothing();
}

#[test]
fn a_leave_that_could_not_be_written_is_written_later() {
    let mut scene = LocalPresenceFixture::with(&[("ada", 1)]);
    scene.leave("ada");
    scene.now += GRACE;
    scene.writes(&[attendance(true, &[("ada", 0)])], Err(AWAY));
    scene.writes(&[attendance(true, &[("ada", 0)])], Ok(MembershipState::Known));
    assert!(scene.is_empty());
}

#[test]
fn what_changes_during_a_call_is_told_in_the_next() {
    let mut scene =
        LocalPresenceFixture { roll: LocalPresence::new(Duration::ZERO), now: Instant::now() };
    scene.enter("ada");
    let joining = scene.roll.take_changes(scene.now);
    scene.leave("ada");
    scene.roll.settle(&joining, &[Ok(MembershipState::Known)]);
    let leaving = scene.roll.take_changes(scene.now);
    assert_eq!(leaving, [attendance(true, &[("ada", 0)])]);
    scene.enter("ada");
    scene.roll.settle(&leaving, &[Ok(MembershipState::Known)]);
    scene.writes(&[attendance(true, &[("ada", 1)])], Ok(MembershipState::Known));
}

#[test]
fn forgotten_members_are_written_again_in_silence_and_removed_ones_join_anew() {
    for (standing, announce) in
        [(MembershipState::Forgotten, false), (MembershipState::Removed, true)]
    {
        let mut scene = LocalPresenceFixture::with(&[("ada", 2)]);
        scene.is_renewed(Some(1), Ok(standing));
        scene.writes(&[attendance(announce, &[("ada", 2)])], Ok(standing));
        scene.writes_nothing();
        scene.enter("bo");
        scene.writes(&[attendance(true, &[("bo", 1)])], Ok(MembershipState::Known));
    }
}

#[test]
fn who_is_about_to_leave_is_written_as_gone_also_when_forgotten() {
    let mut scene = LocalPresenceFixture::with(&[("ada", 1), ("bo", 1)]);
    scene.leave("ada");
    scene.now += GRACE;
    scene.writes(&[attendance(true, &[("ada", 0)])], Err(AWAY));
    scene.is_renewed(None, Ok(MembershipState::Forgotten));
    scene.writes(
        &[attendance(true, &[("ada", 0)]), attendance(false, &[("bo", 1)])],
        Ok(MembershipState::Known),
    );
    scene.is_renewed(Some(1), Ok(MembershipState::Known));
}

#[test]
fn a_write_that_finds_the_node_forgotten_brings_the_others_back_too() {
    let mut scene = LocalPresenceFixture::with(&[("ada", 2)]);
    scene.enter("bo");
    scene.writes(&[attendance(true, &[("bo", 1)])], Ok(MembershipState::Forgotten));
    scene.writes(&[attendance(false, &[("ada", 2)])], Ok(MembershipState::Known));
    scene.writes_nothing();
}

#[test]
fn who_is_written_again_in_silence_leaves_aloud() {
    let mut scene = LocalPresenceFixture::with(&[("ada", 1)]);
    scene.is_renewed(Some(1), Ok(MembershipState::Forgotten));
    scene.writes(&[attendance(false, &[("ada", 1)])], Err(AWAY));
    scene.writes(&[attendance(false, &[("ada", 1)])], Ok(MembershipState::Forgotten));
    scene.leave("ada");
    scene.now += GRACE;
    scene.writes(&[attendance(true, &[("ada", 0)])], Ok(MembershipState::Known));
}

#[test]
fn a_renewal_says_how_many_members_there_should_be_where_that_is_known() {
    let mut scene = LocalPresenceFixture::with(&[("ada", 2), ("bo", 1)]);
    scene.enter("cy");
    scene.is_renewed(Some(2), Ok(MembershipState::Known));
    scene.writes(&[attendance(true, &[("cy", 1)])], Err(AWAY));
    scene.is_renewed(None, Ok(MembershipState::Known));
    scene.writes(&[attendance(true, &[("cy", 1)])], Ok(MembershipState::Known));
    scene.is_renewed(Some(3), Ok(MembershipState::Known));
}

#[test]
fn what_could_not_be_renewed_is_due_again() {
    let mut scene = LocalPresenceFixture::with(&[("ada", 1)]);
    scene.is_renewed(Some(1), Err(AWAY));
    assert_eq!(scene.roll.take_stale().len(), 1);
    assert!(scene.roll.take_stale().is_empty());
}

#[test]
fn batches_are_bounded_and_lose_nothing() {
    let mut roll = LocalPresence::new(GRACE);
    let now = Instant::now();
    let channels: Vec<Channel> =
        (0..RENEWALS_MAX + 1).map(|n| Channel::new(&format!("c{n}")).unwrap()).collect();
    for channel in &channels {
        (0..3).for_each(|n| roll.enter(channel, &user(&format!("u{n}"))));
    }
    let mut told = 0;
    loop {
        let attendances = roll.take_changes(now);
        let members: usize = attendances.iter().map(|it| it.members.len()).sum();
        if members == 0 {
            break;
        }
        assert!(members <= ATTENDANCES_MAX, "{members}");
        told += members;
        let answers = vec![Ok(MembershipState::Known); attendances.len()];
        assert_eq!(roll.settle(&attendances, &answers), told as u64);
    }
    assert_eq!((told, roll.changes()), (channels.len() * 3, told as u64));
    roll.renew_all();
    assert_eq!(roll.take_stale().len(), RENEWALS_MAX);
    assert_eq!(roll.take_stale().len(), 1);
}
