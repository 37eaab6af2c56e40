//! Templates are alpaca-lora's.

use alpaca_data::PromptTemplate;

#[test]
fn the_built_in_templates_frame_the_record() {
    for name in ["alpaca", "alpaca_legacy", "alpaca_short"] {
        let template = PromptTemplate::load(name).unwrap();
        let with = template.prompt("Add.", Some("1 2"));
        assert!(with.contains("### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:"), "{name}");
        for input in [None, Some("")] {
            let without = template.prompt("Add.", input);
            assert!(without.contains("### Instruction:\nAdd.\n\n### Response:"), "{name}");
            assert!(!without.contains("### Input"), "{name}");
        }
        assert_eq!(template.response_of(&format!("{with} 3 \n### Response: 4")), "3", "{name}");
    }
}

#[test]
fn the_french_template_has_the_layout_of_alpaca_loras() {
    let template = PromptTemplate::load("vigogne").unwrap();
    let with = template.prompt("Additionnez.", Some("1 2"));
    assert!(
        with.ends_with("\n\n### Instruction:\nAdditionnez.\n\n### Entrée:\n1 2\n\n### Réponse:\n"),
        "{with}"
    );
    let without = template.prompt("Additionnez.", None);
    assert!(without.ends_with("\n\n### Instruction:\nAdditionnez.\n\n### Réponse:\n"), "{without}");
    assert_eq!(template.response_of(&format!("{with}3")), "3");
}

#[test]
fn the_alpaca_prompt_has_the_length_adapters_were_trained_with() {
    // Bytes of the prompts in alpaca-lora's templates/alpaca.json around an empty instruction and a one-letter input.
    let template = PromptTemplate::load("").unwrap();
    assert_eq!(template, PromptTemplate::load("alpaca").unwrap());
    let without = template.prompt("", None);
    assert!(without.starts_with("Below is an instruction that describes a task. Write a response that"));
    assert!(without.ends_with("### Response:\n"));
    assert!(!PromptTemplate::load("alpaca_legacy").unwrap().prompt("", None).ends_with('\n'));
    assert!(PromptTemplate::load("alpaca_short").unwrap().prompt("", None).starts_with("### Instruction:"));
}

#[test]
fn braces_of_the_record_stay_as_they_are() {
    let template = PromptTemplate::load("alpaca_short").unwrap();
    let prompt = template.prompt("print {input} and {{x}}", Some("{instruction}"));
    assert!(prompt.contains("print {input} and {{x}}") && prompt.contains("### Input:\n{instruction}\n"));
}

#[test]
fn a_user_file_is_a_python_format_string() {
    let json = r#"{"prompt_input": "{{Q}} {instruction} / {input} A:", "prompt_no_input": "{instruction}!", "response_split": "A:"}"#;
    let template = PromptTemplate::from_json("mine", json).unwrap();
    assert_eq!(template.prompt("i", Some("x")), "{Q} i / x A:");
    assert_eq!(template.prompt("i", None), "i!");
}

#[test]
fn invalid_templates_are_refused_by_field() {
    let template = |with: &str, without: &str, mark: &str| {
        let json = format!(
            r#"{{"prompt_input": "{with}", "prompt_no_input": "{without}", "response_split": "{mark}"}}"#
        );
        PromptTemplate::from_json("mine", &json).unwrap_err().to_string()
    };
    let good = "{instruction}";
    assert!(template("{instruction} {inputs}", good, "A").contains("names {inputs}"));
    assert!(
        template("{instruction}", good, "A")
            .contains("prompt_input of prompt template `mine`: has no {input}")
    );
    assert!(template("{instruction} {input", good, "A").contains("without its partner"));
    assert!(template("{instruction} {input}", "x", "A").contains("prompt_no_input"));
    assert!(template("{instruction} {input}", good, "").contains("response_split"));
    let unknown = PromptTemplate::load("alpacca").unwrap_err().to_string();
    assert!(unknown.contains("alpaca, alpaca_legacy, alpaca_short, vigogne"), "{unknown}");
}
