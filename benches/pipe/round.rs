//! One run of every side.

use std::fmt;

use crate::measure::Usage;

/// Every side of a case, once, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) library: Usage,
    pub(crate) pipe: Usage,
    pub(crate) graph: Usage,
    pub(crate) encoder: Usage,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("library", self.library), ("pipe", self.pipe), ("graph", self.graph), ("encoder", self.encoder)];
        for (index, (name, usage)) in parts.into_iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{name} {:.2} s, CPU {:.2} s", usage.wall, usage.cpu)?;
        }
        Ok(())
    }
}
