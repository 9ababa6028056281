//! One channel of `tidegate subscribe`: prints its publications in order and once, and reads missing ones from the
//! channel's history if it keeps one. Only reads: it starts no history.

use std::io;

use super::output::Output;
use crate::broker::{Broker, PAGE_MAX, Page, Unavailable};
use crate::publication::{Channel, Position, Publication, ReplayStart};

/// Reasons for publications missing from the history.
const TRIMMED: &str = "history_trimmed";
const LOST: &str = "history_lost";

pub struct Follower {
    channel: Channel,
    keeps_history: bool,
    start: Option<ReplayStart>,
    /// The last position printed. None: no publication with a position was printed.
    last: Option<Position>,
}

/// A publication's position relative to the last one printed.
#[derive(Debug, PartialEq, Eq)]
enum FollowerPosition {
    /// Already printed.
    Before,
    Next,
    /// Others are missing in between.
    Beyond,
}

impl Follower {
    pub fn new(channel: Channel, keeps_history: bool, start: Option<ReplayStart>) -> Self {
        let last = match start {
            Some(ReplayStart::After(position)) => Some(position),
            _ => None,
        };
        Self { channel, keeps_history, start, last }
    }

    /// Prints what follows the start given to `new`. Called once the channel is subscribed.
    pub async fn begin(
        &mut self,
        broker: &dyn Broker,
        output: &Output,
    ) -> io::Result<Result<(), Unavailable>> {
        match (self.start, self.last) {
            (_, Some(since)) => self.catch_up(since, broker, output).await,
            (Some(ReplayStart::First), None) => self.read_on(Position::MIN, broker, output).await,
            _ => Ok(Ok(())),
        }
    }

    /// Handles a publication from the broker.
    pub async fn publication(
        &mut self,
        publication: Publication,
        broker: &dyn Broker,
        output: &Output,
    ) -> io::Result<()> {
        let mut position = self.position(&publication);
        if let (FollowerPosition::Beyond, Some(last)) = (&position, self.last) {
            // If the history cannot be read, the publication remains `Beyond`.
            _ = self.read_on(last, broker, output).await?;
            position = self.position(&publication);
        }
        match position {
            FollowerPosition::Before => return Ok(()),
            FollowerPosition::Next => {}
            FollowerPosition::Beyond => {
                output.gap(&self.channel, missing(&publication, self.last)).await?;
            }
        }
        self.print(&[publication], output).await
    }

    /// Handles a gap: reads the history or, if that is not possible, prints a gap with this reason.
    pub async fn gap(
        &mut self,
        reason: &'static str,
        broker: &dyn Broker,
        output: &Output,
    ) -> io::Result<()> {
        let last = self.last.filter(|_| self.keeps_history);
        if let Some(last) = last
            && self.catch_up(last, broker, output).await?.is_ok()
        {
            return Ok(());
        }
        output.gap(&self.channel, reason).await
    }

    fn position(&self, publication: &Publication) -> FollowerPosition {
        match (publication.position, self.last) {
            (Some(position), Some(last)) if position <= last => FollowerPosition::Before,
            (Some(_), Some(last)) if !publication.follows(last) => FollowerPosition::Beyond,
            // The front of the history was trimmed.
            (Some(Position { seq: 2.., .. }), None) if self.start == Some(ReplayStart::First) => {
                FollowerPosition::Beyond
            }
            _ => FollowerPosition::Next,
        }
    }

    /// Prints the history from `last` to its end, and a gap if it does not continue from `last`.
    async fn catch_up(
        &mut self,
        last: Position,
        broker: &dyn Broker,
        output: &Output,
    ) -> io::Result<Result<(), Unavailable>> {
        let newest = match broker.history(self.channel.clone(), Page::Newest, 1).await {
            Ok(newest) => newest.first().and_then(|newest| newest.position),
            Err(why) => return Ok(Err(why)),
        };
        if newest.is_none_or(|newest| newest < last) {
            // The history was lost, or is another server's. What it contained is unknown.
            output.gap(&self.channel, LOST).await?;
            self.last = newest;
            return Ok(Ok(()));
        }
        self.read_on(last, broker, output).await
    }

    /// Reads page by page, to hold little in memory.
    async fn read_on(
        &mut self,
        mut last: Position,
        broker: &dyn Broker,
        output: &Output,
    ) -> io::Result<Result<(), Unavailable>> {
        loop {
            let page = Page::After(last);
            let page = match broker.history(self.channel.clone(), page, PAGE_MAX).await {
                Ok(page) => page,
                Err(why) => return Ok(Err(why)),
            };
            let is_end = page.len() < PAGE_MAX;
            for part in page.chunk_by(|one, next| one.position.is_some_and(|it| next.follows(it))) {
                if self.position(&part[0]) == FollowerPosition::Beyond {
                    output.gap(&self.channel, missing(&part[0], self.last)).await?;
                }
                self.print(part, output).await?;
            }
            match self.last {
                Some(position) if !is_end && position > last => last = position,
                _ => return Ok(Ok(())),
            }
        }
    }

    async fn print(&mut self, publications: &[Publication], output: &Output) -> io::Result<()> {
        let last = publications.iter().rev().find_map(|publication| publication.position);
        self.last = last.or(self.last);
        output.publications(&self.channel, publications).await
    }
}

/// The reason why the publications between `last` and this one cannot be read.
fn missing(publication: &Publication, last: Option<Position>) -> &'static str {
    match (publication.position, last) {
        (Some(position), Some(last)) if position.epoch == last.epoch => TRIMMED,
        (Some(_), None) => TRIMMED,
        _ => LOST,
    }
}
