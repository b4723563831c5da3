//! The envelopes of responses.

/// The envelope of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Envelope {
    /// None, as documented.
    #[default]
    Documented,
    /// `{"result": …}`, as deployed.
    Result,
}
