//! The known masters by epoch. Each change of a master raises the epoch, so a reply with a lower
//! one is out of date, such as that of a server that was partitioned for a while.

use std::time::Duration;

use tokio::time::Instant;

use super::layout::Layout;
use super::source::UnknownTopology;
use crate::broker::redis::connection::server::ServerAddress;

/// The owner of a slot, and the epoch of that.
pub type SlotClaim = Option<(u64, ServerAddress)>;

/// If a majority reports only lower epochs for this long, the sentinels or the cluster were set up
/// anew, and the known claims are discarded.
const OUTDATED_MAX: Duration = Duration::from_secs(15);

/// The newest claims so far.
pub struct Epochs {
    claims: Vec<SlotClaim>,
    /// Since when replies have been out of date.
    outdated_since: Option<Instant>,
}

impl Epochs {
    pub fn new(slots: usize) -> Self {
        Self { claims: vec![None; slots], outdated_since: None }
    }

    /// Takes claims with an epoch as high as the known one or higher. `by_majority`: a majority of
    /// the servers has replied.
    pub fn update(&mut self, claims: Vec<SlotClaim>, by_majority: bool) -> &Self {
        let outdated = |(claim, known): (&SlotClaim, &SlotClaim)| match (claim, known) {
            (Some((epoch, _)), Some((known, _))) => epoch < known,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let is_outdated = claims.iter().zip(&self.claims).any(outdated);
        if !is_outdated {
            self.claims = claims;
            self.outdated_since = None;
            return self;
        }
        let since = *self.outdated_since.get_or_insert_with(Instant::now);
        let all = by_majority && since.elapsed() >= OUTDATED_MAX;
        for (known, claim) in self.claims.iter_mut().zip(claims) {
            if all || !outdated((&claim, known)) {
                *known = claim;
            }
        }
        if all {
            self.outdated_since = None;
        }
        self
    }

    pub fn to_layout(&self) -> Result<Layout, UnknownTopology> {
        let mut layout = Layout::default();
        for claim in &self.claims {
            let owner = claim.as_ref().map(|(_, address)| {
                let index = layout.masters.iter().position(|master| master == address);
                index.unwrap_or_else(|| {
                    layout.masters.push(address.clone());
                    layout.masters.len() - 1
                }) as u16
            });
            layout.owners.push(owner);
        }
        if layout.masters.is_empty() { Err(UnknownTopology::NoSlots) } else { Ok(layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(epoch: u64, port: u16) -> Vec<SlotClaim> {
        vec![Some((epoch, ServerAddress::new("host", port)))]
    }

    fn master(epochs: &Epochs) -> u16 {
        epochs.to_layout().unwrap().masters[0].port
    }

    #[tokio::test(start_paused = true)]
    async fn a_lower_epoch_is_accepted_only_from_a_lasting_majority() {
        let mut epochs = Epochs::new(1);
        assert!(epochs.to_layout().is_err());
        assert_eq!(master(epochs.update(claim(2, 1), true)), 1);
        assert_eq!(master(epochs.update(claim(3, 2), true)), 2);
        assert_eq!(master(epochs.update(claim(2, 1), true)), 2);
        tokio::time::advance(OUTDATED_MAX).await;
        assert_eq!(master(epochs.update(claim(2, 1), false)), 2);
        assert_eq!(master(epochs.update(claim(2, 1), true)), 1);
        assert_eq!(master(epochs.update(claim(2, 3), true)), 3, "an address may change");
    }

    #[tokio::test(start_paused = true)]
    async fn a_current_reply_restarts_the_time_until_lower_epochs_are_accepted() {
        let mut epochs = Epochs::new(1);
        epochs.update(claim(3, 2), true);
        epochs.update(claim(2, 1), true);
        tokio::time::advance(OUTDATED_MAX).await;
        epochs.update(claim(3, 2), true);
        assert_eq!(master(epochs.update(claim(2, 1), true)), 2);
    }

    #[test]
    fn slots_with_the_same_address_share_one_master() {
        let mut epochs = Epochs::new(4);
        let [a, b] = [1, 2].map(|port| Some((1, ServerAddress::new("host", port))));
        let claims = vec![a.clone(), b, a, None];
        let layout = epochs.update(claims, true).to_layout().unwrap();
        assert_eq!(layout.masters.len(), 2);
        assert_eq!(layout.owners, [Some(0), Some(1), Some(0), None]);
    }
}
