//! Prompts of clients, made into token ids within the limits.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use alpaca_data::Message;

use super::error::ApiError;
use super::state::{App, RunningSource};
use crate::fair_queue::Client;

/// Time that a chat template has. It bounds itself to less; this is for what it cannot bound.
const RENDER_TIME: Duration = Duration::from_secs(10);
/// Stack of a thread that renders.
const RENDER_STACK: usize = 16 << 20;

/// Prompt of a client.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Prompt {
    Text { text: String, add_bos: bool },
    Ids(Vec<i64>),
    Chat { messages: Vec<Message>, add_generation_prompt: bool },
}

impl Prompt {
    /// Returns the bytes of its text.
    fn bytes(&self) -> usize {
        match self {
            Self::Text { text, .. } => text.len(),
            Self::Ids(_) => 0,
            Self::Chat { messages, .. } => messages.iter().map(|message| message.content.len()).sum(),
        }
    }
}

impl App {
    /// Makes the token ids of a prompt, in the client's turn and on another thread. One that has more bytes than the tokens
    /// of a prompt can stand for is refused before.
    pub(crate) async fn ids(
        &self,
        source: &Arc<RunningSource>,
        client: &Client,
        prompt: Prompt,
    ) -> Result<Vec<i64>, ApiError> {
        let tokens = self.longest_prompt(source);
        let limit = source.text.0.max_token_bytes().saturating_mul(tokens);
        let refused = move |bytes: usize| {
            let message = format!(
                "the prompt has {bytes} bytes; this server reads at most {tokens} tokens, of at most {limit} bytes"
            );
            ApiError::too_large("context_length_exceeded", message)
        };
        let bytes = prompt.bytes();
        if bytes > limit {
            return Err(refused(bytes));
        }
        if let Prompt::Ids(ids) = prompt {
            return source.check_ids(&ids).map(|()| ids);
        }
        let source = source.clone();
        let prepared = self.preparer.run(client, bytes, move || {
            let (text, add_bos) = source.text_of(prompt)?;
            if text.len() > limit {
                return Err(refused(text.len()));
            }
            let ids = source.text.0.encode(&text, add_bos);
            ids.map_err(|error| ApiError::malformed(format!("the prompt cannot be tokenised: {error}")))
        });
        let cannot = || ApiError::malformed("the prompt cannot be tokenised: the tokenizer panicked");
        prepared.await?.ok_or_else(cannot)?
    }
}

impl RunningSource {
    pub(crate) fn check_ids(&self, ids: &[i64]) -> Result<(), ApiError> {
        match ids.iter().find(|&&id| id < 0 || id >= self.vocab_size as i64) {
            None => Ok(()),
            Some(id) => {
                let message = format!("token {id} is not in the vocabulary of {} tokens", self.vocab_size);
                Err(ApiError::invalid("prompt", message))
            }
        }
    }

    /// Returns a prompt's text, and whether the begin token goes before it.
    fn text_of(self: &Arc<Self>, prompt: Prompt) -> Result<(String, bool), ApiError> {
        match prompt {
            Prompt::Text { text, add_bos } => Ok((text, add_bos)),
            Prompt::Ids(_) => Ok((String::new(), false)),
            Prompt::Chat { messages, add_generation_prompt } => {
                let rendered = self.rendered(messages, add_generation_prompt);
                rendered.map_err(|reason| ApiError::invalid("messages", reason))
            }
        }
    }

    /// Renders a conversation in a thread of its own. One that does not end is left alone, and the template is not used again.
    fn rendered(
        self: &Arc<Self>,
        messages: Vec<Message>,
        add_generation_prompt: bool,
    ) -> Result<(String, bool), String> {
        if self.templates.chat.is_none() {
            return self.render(&messages, add_generation_prompt);
        }
        if let Some(reason) = self.stuck.get() {
            return Err(reason.clone());
        }
        let (sender, receiver) = sync_channel(1);
        let source = self.clone();
        let work = move || {
            let _ = sender.send(source.render(&messages, add_generation_prompt));
        };
        let thread = std::thread::Builder::new().name("template".to_owned()).stack_size(RENDER_STACK);
        thread.spawn(work).map_err(|error| format!("no thread for the chat template: {error}"))?;
        match receiver.recv_timeout(RENDER_TIME) {
            Ok(rendered) => rendered,
            Err(RecvTimeoutError::Disconnected) => Err("the chat template ended without a result".to_owned()),
            Err(RecvTimeoutError::Timeout) => {
                let seconds = RENDER_TIME.as_secs();
                let reason = format!(
                    "the chat template of this model has not ended in {seconds} s; it is not used again"
                );
                tracing::error!("source `{}`: {reason}", self.name);
                Err(self.stuck.get_or_init(|| reason).clone())
            }
        }
    }

    fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<(String, bool), String> {
        match &self.templates.chat {
            Some(template) if !add_generation_prompt => Ok((template.render(messages, false)?, false)),
            _ => self.templates.next_turn(messages),
        }
    }
}
