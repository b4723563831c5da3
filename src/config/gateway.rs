//! What the contract `gateway` does: `ORDER_ENGINE_GATEWAY_ENVELOPE`.

use crate::config::source::{Problems, Setting, Sources};

/// The settings of this file.
pub const SETTINGS: &[Setting] = &[Setting {
    name: "gateway_envelope",
    variables: &["ORDER_ENGINE_GATEWAY_ENVELOPE"],
    is_secret: false,
    default: "documented",
    help: "What stands around the answers of the contract gateway: documented (nothing) or result \
           ({\"result\": ...}, as deployed services have it).",
}];

/// What the contract does.
#[derive(Clone, Copy, Debug)]
pub struct Gateway {
    /// Whether answers stand in `{"result": …}`.
    pub has_envelope: bool,
}

pub(super) fn read(sources: &Sources, problems: &mut Problems) -> Gateway {
    let envelopes = [("documented", false), ("result", true)];
    let has_envelope = sources.choice("gateway_envelope", &envelopes, problems);
    Gateway { has_envelope: has_envelope.unwrap_or_default() }
}
