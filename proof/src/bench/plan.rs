//! How often everything is done.

/// The numbers of a run.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Plan {
    /// Alternating blocks of calls.
    pub blocks: usize,
    /// Alternating windows of the 64 tasks.
    pub windows: usize,
    /// Connects of each side.
    pub connects: usize,
    /// Processes that connect for the first time, of each side.
    pub processes: usize,
    /// Rounds of each fault.
    pub faults: usize,
    /// Failovers with one connection.
    pub failovers: usize,
    /// Failovers with 200 connections, and with a pool of 500.
    pub crowded_failovers: usize,
    /// Whether there is time for what takes a minute and more: instructions, and memory of 1,000 connections.
    pub is_thorough: bool,
}

impl Plan {
    /// A few minutes an engine.
    pub const FULL: Self = Self {
        blocks: 80,
        windows: 20,
        connects: 200,
        processes: 25,
        faults: 20,
        failovers: 5,
        crowded_failovers: 3,
        is_thorough: true,
    };

    /// To see that all of it works; the figures jump.
    pub const QUICK: Self = Self {
        blocks: 12,
        windows: 4,
        connects: 30,
        processes: 5,
        faults: 3,
        failovers: 1,
        crowded_failovers: 1,
        is_thorough: false,
    };
}
