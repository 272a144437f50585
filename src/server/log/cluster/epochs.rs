//! The stream's epochs, kept in its metadata. A stream that has lost acknowledged messages starts a new epoch, so that new
//! cursors are greater than all cursors that any node has assigned.

use std::fmt;
use std::str::FromStr;

use super::position::LAST_EPOCH;

/// The first sequence number of each epoch, as pairs of epoch and sequence number in ascending order. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Epochs(Vec<(u64, u64)>);

impl Default for Epochs {
    fn default() -> Self {
        Self(vec![(0, 1)])
    }
}

impl Epochs {
    /// The newest epoch.
    pub(super) fn current(&self) -> u64 {
        self.0.last().map_or(0, |(epoch, _)| *epoch)
    }

    /// The epoch of a sequence number.
    pub(super) fn of(&self, sequence: u64) -> u64 {
        let begun = self.0.iter().rev().find(|(_, begin)| *begin <= sequence);
        begun.or(self.0.first()).map_or(0, |(epoch, _)| *epoch)
    }

    /// The first sequence number after an epoch; `None` if it is the newest.
    pub(super) fn begin_after(&self, epoch: u64) -> Option<u64> {
        self.0.iter().find(|(later, _)| *later > epoch).map(|(_, begin)| *begin)
    }

    /// Adds an epoch that starts at this sequence number; `None` if the epoch is too large.
    pub(super) fn begin(&self, epoch: u64, sequence: u64) -> Option<Self> {
        let mut epochs: Vec<_> = self.0.iter().copied().filter(|(_, begin)| *begin < sequence).collect();
        epochs.push((epoch, sequence));
        (epoch <= LAST_EPOCH).then_some(Self(epochs))
    }
}

impl fmt::Display for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (epoch, begin)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{epoch}@{begin}")?;
        }
        Ok(())
    }
}

impl FromStr for Epochs {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let epoch = |text: &str| {
            let (epoch, begin) = text.split_once('@')?;
            Some((epoch.parse().ok()?, begin.parse().ok()?))
        };
        let epochs: Vec<(u64, u64)> = text.split(',').map(epoch).collect::<Option<_>>().ok_or(())?;
        let rises = epochs.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        if rises && epochs.iter().all(|(epoch, _)| *epoch <= LAST_EPOCH) { Ok(Self(epochs)) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_epoch_is_for_what_comes_from_there_on() {
        let epochs = Epochs::default().begin(1, 901).and_then(|epochs| epochs.begin(2, 950)).expect("epochs");
        assert_eq!([1, 900, 901, 949, 950, 9999].map(|sequence| epochs.of(sequence)), [0, 0, 1, 1, 2, 2]);
        assert_eq!((epochs.current(), epochs.begin_after(0), epochs.begin_after(2)), (2, Some(901), None));
        assert_eq!(epochs.to_string(), "0@1,1@901,2@950");
        assert_eq!(epochs.to_string().parse(), Ok(epochs.clone()));
        let earlier = epochs.begin(3, 920).expect("epochs");
        assert_eq!([900, 901, 919, 920, 950].map(|sequence| earlier.of(sequence)), [0, 1, 1, 3, 3]);
        assert_eq!(Epochs::default().begin(256, 5), None);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "1", "0@1,0@5", "0@5,1@2", "256@1", "a@b"] {
            assert_eq!(text.parse::<Epochs>(), Err(()), "{text}");
        }
    }
}
