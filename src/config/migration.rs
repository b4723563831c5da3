//! Migration from an older service: the default stage of its operations.

use crate::domain::switch::Stage;
use crate::setting::{choice, settings};

settings! {
    /// Who answers while a service is migrated.
    pub struct MigrationSettings {
        migration_stage: Stage {
            parse: choice([
                ("legacy", Stage::Legacy),
                ("shadow", Stage::Shadow),
                ("engine", Stage::Engine),
            ]),
            default: "engine",
            variables: ["ORDER_ENGINE_MIGRATION_STAGE"],
            help: "In a Flask app: who answers operations without a routing rule (see \
                   `order-engine route`). engine, legacy (the app's own code) or shadow (the \
                   app's own code, compared with the engine).",
        }
    }
}
