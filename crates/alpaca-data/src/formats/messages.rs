//! Conversations: OpenAI's `{"messages": [{"role": …, "content": …}, …]}` and `ShareGPT`'s
//! `{"conversations": [{"from": "human", "value": …}, …]}`.
//!
//! The answers are the assistant's turns, each with the end token that the chat template writes after it. They are found by
//! rendering the conversation up to each of them. A model without a chat template learns what the server asks it with:
//! [`Templates::next_turn`].

use serde_json::{Map, Value};

use crate::columns::filled;
use crate::json::{kind, take_string};
use crate::record_format::Format;
use crate::{ChatTemplate, Message, Templates, TrainingText};

pub(super) struct Messages;

/// Fields that hold the turns.
const TURNS: [&str; 2] = ["messages", "conversations"];

impl Format for Messages {
    fn detect(&self, record: &Map<String, Value>) -> bool {
        TURNS.iter().any(|name| record.contains_key(*name))
    }

    /// Lists `ShareGPT`'s `system` beside the turns, OpenAI's tools, LLaMA-Factory's media.
    fn unread(&self) -> &'static [&'static str] {
        &["system", "system_prompt", "tools", "functions", "image", "images", "videos", "audios"]
    }

    fn render(&self, mut record: Map<String, Value>, templates: &Templates) -> Result<TrainingText, String> {
        let turns = TURNS.iter().find_map(|name| record.remove(*name)).unwrap_or_default();
        let Value::Array(turns) = turns else {
            return Err(format!("has turns that are {}; expected a list", kind(&turns)));
        };
        let mut messages = Vec::new();
        let mut answers = Vec::new();
        for (index, turn) in turns.into_iter().enumerate() {
            let (message, learnt) =
                read(turn).map_err(|reason| format!("has a turn {} that {reason}", index + 1))?;
            if message.role == "assistant" && learnt {
                answers.push(index);
            }
            messages.push(message);
        }
        render(&messages, &answers, templates)
    }
}

/// Reads a turn; also returns whether an answer is learnt, which OpenAI's `weight` 0 denies.
fn read(turn: Value) -> Result<(Message, bool), String> {
    let Value::Object(mut turn) = turn else {
        return Err(format!("is {}; expected an object with role and content", kind(&turn)));
    };
    let mut take = |openai, sharegpt| match take_string(&mut turn, openai)? {
        Some(text) => Ok(text),
        None => take_string(&mut turn, sharegpt)?.ok_or_else(|| format!("has no `{openai}`")),
    };
    let role = match take("role", "from")?.as_str() {
        "system" => "system",
        "user" | "human" => "user",
        "assistant" | "gpt" => "assistant",
        other => {
            return Err(format!(
                "is of role `{other}`; expected system, user or assistant (ShareGPT: human or gpt)"
            ));
        }
    };
    let content = take("content", "value")?;
    if let Some(name) = filled(&turn, &["tool_calls", "function_call"]).first() {
        return Err(format!("calls a tool (`{name}`), which is not trained"));
    }
    let learnt = turn.get("weight").and_then(Value::as_f64) != Some(0.0);
    Ok((Message { role: role.to_owned(), content }, learnt))
}

/// Renders a conversation whose template marks the answers itself, as transformers' `{% generation %}` does.
fn render_marked(
    messages: &[Message],
    answers: &[usize],
    template: &ChatTemplate,
) -> Result<TrainingText, String> {
    let last = *answers.last().ok_or("has no turn of the assistant to learn")?;
    let messages = &messages[..=last];
    let (text, spans) =
        template.render_spans(messages).map_err(|reason| format!("does not fit the template: {reason}"))?;
    let turns = (0..=last).filter(|&index| messages[index].role == "assistant");
    let learnt: Vec<bool> = turns.map(|index| answers.contains(&index)).collect();
    let all = learnt.iter().all(|&learnt| learnt);
    if !all && spans.len() != learnt.len() {
        return Err(format!(
            "has answers of `\"weight\": 0`, but the chat template marks {} parts as answers of {}, so that it cannot be \
             told which to leave out",
            spans.len(),
            learnt.len()
        ));
    }
    let answers =
        spans.into_iter().enumerate().filter(|(index, _)| all || learnt[*index]).map(|(_, span)| span);
    Ok(TrainingText { text, answers: answers.collect(), add_special_tokens: false })
}

/// Renders a conversation up to its last answer: turns after it teach nothing.
fn render(messages: &[Message], answers: &[usize], templates: &Templates) -> Result<TrainingText, String> {
    let refused = |reason| format!("does not fit the template: {reason}");
    if let Some(template) = templates.chat.as_ref().filter(|template| template.has_generation()) {
        return render_marked(messages, answers, template);
    }
    let mut spans = Vec::new();
    let mut add_special_tokens = true;
    for &index in answers {
        let (prompt, add_bos) = templates.next_turn(&messages[..index]).map_err(refused)?;
        let answered = match &templates.chat {
            Some(template) => template.render(&messages[..=index], false).map_err(refused)?,
            None => format!("{prompt}{}", messages[index].content.trim()),
        };
        spans.push((index, prompt, answered));
        add_special_tokens = add_bos;
    }
    let (_, _, text) = spans.last().cloned().ok_or("has no turn of the assistant to learn")?;
    let mut ranges = Vec::new();
    for (index, prompt, answered) in spans {
        if !answered.starts_with(&prompt) || !text.starts_with(&answered) {
            return Err(format!(
                "has a turn {} that the chat template renders differently when turns follow it, so that its tokens \
                 cannot be told from others; split the conversation, or give all answers but the last `\"weight\": 0`",
                index + 1
            ));
        }
        ranges.push(prompt.len()..answered.len());
    }
    Ok(TrainingText { text, answers: ranges, add_special_tokens })
}
