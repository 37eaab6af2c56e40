//! A turn of a conversation.

use serde::{Deserialize, Serialize};

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, or another role that the chat template knows.
    pub role: String,
    /// Text of the turn.
    pub content: String,
}
