//! Takes in a message that the caller received, without the engine's own intake.

use crate::engine::Engine;
use crate::engine::ports::{Delivery, Interpreter};
use crate::error::Result;

impl Engine {
    /// Takes in what `body` on `topic` says, all of it or nothing. Nothing remembers the message:
    /// the same one again is taken in again, and says the same.
    ///
    /// # Errors
    /// `InvalidInput` when it is not understood or out of bounds; `Conflict`, `Unavailable`.
    pub async fn apply_message(
        &self,
        interpreter: &dyn Interpreter,
        topic: String,
        body: Vec<u8>,
        correlation_id: Option<String>,
    ) -> Result<()> {
        let delivery =
            Delivery { tag: 0, topic, body, message_id: None, correlation_id, redelivered: false };
        self.note(&interpreter.interpret(&delivery)?).await
    }
}
