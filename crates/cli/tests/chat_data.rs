//! `finetune` on conversations.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Scene, adapter, run};
use serde_json::{Value, json};

const TEMPLATE: &str = "{% for m in messages %}{{ '<' + m.role + '>' + m.content + eos_token }}{% endfor %}\
                        {% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}";

fn records() -> Vec<Value> {
    let turns = |i: usize| (format!("Say {i}."), "ab".repeat(i % 5 + 1));
    let openai = |i| {
        let (question, answer) = turns(i);
        let user = json!({ "role": "user", "content": question });
        json!({ "messages": [user, { "role": "assistant", "content": answer }] })
    };
    let sharegpt = |i| {
        let (question, answer) = turns(i);
        let human = json!({ "from": "human", "value": question });
        json!({ "conversations": [human, { "from": "gpt", "value": answer }] })
    };
    (0..20).map(|i| if i % 2 == 0 { openai(i) } else { sharegpt(i) }).collect()
}

#[test]
fn conversations_train_through_the_bases_chat_template() {
    let scene = Scene::new();
    scene.write("chat.json", Value::from(records()).to_string());
    let flags = ["--data_path", "chat.json", "--train_on_inputs", "false", "--val_set_size", "0"];
    let run_to =
        |dir: &str| run(&mut scene.finetune(dir, &[&flags[..], &["--max_steps", "4"]].concat())).ok();

    // The scene's tokenizer has a token for each character. By hand: the answer and the end token of each record.
    let labels: usize = (0..20).map(|i| 2 * (i % 5 + 1) + 1).sum();
    let plain = run_to("plain");
    assert!(plain.stderr.contains(&format!("{labels} of them labels")), "{}", plain.stderr);
    scene.write("model/chat_template.jinja", TEMPLATE);
    let chat = run_to("chat");
    let tokens: usize =
        (0..20).map(|i: usize| format!("<user>Say {i}.<assistant>").len() + 2 * (i % 5 + 1) + 2).sum();
    let expected = format!("training records: 20 examples, {tokens} tokens, {labels} of them labels");
    assert!(chat.stderr.contains(&expected), "{}", chat.stderr);
    assert_ne!(adapter(&scene.path("plain")), adapter(&scene.path("chat")));
}

#[test]
fn conversations_that_the_template_refuses_are_bad_records() {
    let scene = Scene::new();
    scene.write(
        "model/chat_template.jinja",
        format!(
            "{{% if messages | length > 2 %}}{{{{ raise_exception('too long') }}}}{{% endif %}}{TEMPLATE}"
        ),
    );
    let mut records = records();
    let turns = records[0]["messages"].as_array().unwrap();
    let long = [&turns[..], turns].concat();
    records[3] = json!({ "messages": long });
    scene.write("chat.json", Value::from(records).to_string());
    let flags = ["--data_path", "chat.json", "--max_steps", "2"];
    let reason = "record 3 (line 1) does not fit the template: too long";
    run(&mut scene.finetune("a", &flags)).refused(2, &[reason, "--skip_bad_records"]);
    let skipped = run(&mut scene.finetune("a", &[&flags[..], &["--skip_bad_records"]].concat())).ok();
    assert!(skipped.stderr.contains("1 bad records of `chat.json` were left out"), "{}", skipped.stderr);
}

#[test]
fn a_damaged_chat_template_stops_conversations_only() {
    let scene = Scene::new();
    scene.write("model/chat_template.jinja", "{% if %}");
    scene.write("chat.json", Value::from(records()).to_string());
    run(&mut scene.finetune("a", &["--max_steps", "2"])).ok();
    let reason = "does not fit the template: the chat template cannot be read";
    run(&mut scene.finetune("b", &["--max_steps", "2", "--data_path", "chat.json"])).refused(2, &[reason]);
}
