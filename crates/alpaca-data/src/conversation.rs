//! Conversations, and their rendering as prompts.

use crate::{ChatTemplate, Message, PromptTemplate};

/// Templates of a model: one for instructions, and one for conversations where the model has it.
#[derive(Debug)]
pub struct Templates {
    /// Renders instructions, and conversations where there is no chat template.
    pub prompt: PromptTemplate,
    /// Renders conversations.
    pub chat: Option<ChatTemplate>,
}

impl Templates {
    /// Renders a conversation as the prompt of the assistant's next turn. Also returns whether BOS goes before it: a chat
    /// template writes its own.
    ///
    /// # Errors
    /// A sentence when the template has no place for the conversation.
    pub fn next_turn(&self, messages: &[Message]) -> Result<(String, bool), String> {
        match &self.chat {
            Some(template) => Ok((template.render(messages, true)?, false)),
            None => Ok((self.prompt.conversation(messages)?, true)),
        }
    }
}

impl PromptTemplate {
    /// Renders a conversation as a prompt, for models without a chat template. Each user turn is one prompt of the
    /// template: a system message before it becomes the instruction and the user's text the input; without one, the
    /// user's text is the instruction. Assistant turns follow their prompts, with an empty line before the next.
    ///
    /// # Errors
    /// A sentence when a role is unknown or the last turn is not the user's.
    fn conversation(&self, messages: &[Message]) -> Result<String, String> {
        let mut prompt = String::new();
        let mut system = String::new();
        for message in messages {
            let content = message.content.trim();
            match message.role.as_str() {
                "system" | "developer" => {
                    if !system.is_empty() {
                        system.push('\n');
                    }
                    system.push_str(content);
                }
                "user" => {
                    if !prompt.is_empty() {
                        prompt.push_str("\n\n");
                    }
                    let (instruction, input) =
                        if system.is_empty() { (content, "") } else { (&*system, content) };
                    prompt.push_str(&self.prompt(instruction, Some(input)));
                    system.clear();
                }
                "assistant" => prompt.push_str(content),
                other => {
                    return Err(format!(
                        "role `{other}` has no place in this model's prompt template; expected system, user or assistant"
                    ));
                }
            }
        }
        match messages.last() {
            Some(last) if last.role == "user" => Ok(prompt),
            Some(last) => Err(format!("the last message is of role `{}`; expected `user`", last.role)),
            None => Err("`messages` is empty; expected at least one".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: &str, content: &str) -> Message {
        Message { role: role.to_owned(), content: content.to_owned() }
    }

    #[test]
    fn without_a_chat_template_each_user_turn_is_an_instruction() {
        let json = r#"{"prompt_input": "[{instruction}/{input}]", "prompt_no_input": "[{instruction}/]", "response_split": "]"}"#;
        let template = PromptTemplate::from_json("bracketed", json).unwrap();
        let text = |messages: &[Message]| template.conversation(messages);
        assert_eq!(text(&[message("user", " Hi ")]).unwrap(), "[Hi/]");
        let with_system = [message("system", "Translate."), message("user", "Hi")];
        assert_eq!(text(&with_system).unwrap(), "[Translate./Hi]");
        let turns = [message("user", "Hi"), message("assistant", "Ho"), message("user", "And?")];
        assert_eq!(text(&turns).unwrap(), "[Hi/]Ho\n\n[And?/]");
        assert!(text(&[message("tool", "x")]).unwrap_err().starts_with("role `tool`"));
        assert!(text(&turns[..2]).unwrap_err().contains("`assistant`"));
    }
}
