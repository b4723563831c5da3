//! Which of two differing spellings the API and the messages use.

/// The spelling of the API and of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StockSpelling {
    /// As documented.
    #[default]
    Documented,
    /// As the services do that are deployed.
    Deployed,
}
