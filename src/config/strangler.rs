//! Who answers while a service is moved over: `ORDER_ENGINE_STAGE`.

use crate::config::source::{Problems, Setting, Sources};
use crate::domain::switch::Stage;

/// The settings of this file.
pub const SETTINGS: &[Setting] = &[Setting {
    name: "stage",
    variables: &["ORDER_ENGINE_STAGE"],
    is_secret: false,
    default: "engine",
    help: "In a Flask app: who answers what `order-engine route` has not set. engine, legacy (the \
           app's own code) or shadow (the app's own code, compared with the engine).",
}];

/// Who answers while a service is moved over.
#[derive(Debug)]
pub struct Strangler {
    /// The stage of what nobody has set.
    pub stage: Stage,
}

pub(super) fn read(sources: &Sources, problems: &mut Problems) -> Strangler {
    let stages = [Stage::Legacy, Stage::Shadow, Stage::Engine].map(|stage| (stage.as_str(), stage));
    let stage = sources.choice("stage", &stages, problems);
    Strangler { stage: stage.unwrap_or(Stage::Engine) }
}
