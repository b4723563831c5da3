//! An open engine of this process.

use std::path::Path;
use std::sync::Arc;

use crate::app::enabled_contracts::EnabledContracts;
use crate::app::sinks::SinkChannel;
use crate::app::{App, Role};
use crate::config::{Needs, Settings};
use crate::error::Result;
use crate::python::arguments::Flags;
use crate::python::process_bound::{Closable, ProcessBound};

/// An open engine, and the channels to the sinks of this process.
pub(super) struct OpenedEngine {
    pub app: App,
    pub sinks: Vec<Arc<SinkChannel>>,
}

impl Closable for OpenedEngine {
    const NAME: &str = "engine";

    async fn close(&self) {
        self.app.close().await;
    }
}

/// Opens an engine and starts its background work.
///
/// # Errors
/// `Misconfigured`, `Unavailable`.
pub(super) async fn open(flags: Flags, sinks: Vec<String>) -> Result<ProcessBound<OpenedEngine>> {
    let settings = Settings::load(&flags, Path::new("."), Needs::DATABASE)?;
    let contracts = EnabledContracts::new(&settings)?;
    let (app, channels) = App::open_with(&settings, contracts, Role::Embedded, &sinks).await?;
    let sinks = channels.into_iter().map(Arc::new).collect();
    Ok(ProcessBound::new(OpenedEngine { app, sinks }))
}
