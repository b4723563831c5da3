//! Migration from an older service: the default stage of its operations.

use crate::domain::routing_rule::MigrationStage;
use crate::setting::{choice, settings};

settings! {
    /// Who answers while a service is migrated.
    pub struct MigrationSettings {
        migration_stage: MigrationStage {
            parse: choice([
                ("legacy", MigrationStage::Legacy),
                ("shadow", MigrationStage::Shadow),
                ("engine", MigrationStage::Engine),
            ]),
            default: "engine",
            variables: ["ORDER_ENGINE_MIGRATION_STAGE"],
            help: "Flask only: which code answers an operation without a routing rule (see \
                   `order-engine route`). engine, legacy (the app's own code) or shadow (the app's \
                   own code, compared with the engine).",
        }
    }
}
