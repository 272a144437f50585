//! A filter that wants everything.

use super::{Topic, TopicFilter};

/// Wants every topic.
pub struct Everything;

impl TopicFilter for Everything {
    fn wants(&self, _: &str) -> bool {
        true
    }

    fn exact(&self) -> Option<&[Topic]> {
        None
    }
}
