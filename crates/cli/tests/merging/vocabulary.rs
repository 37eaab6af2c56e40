//! A tokenizer with more tokens than the base.

use serde_json::{Value, json};
use tch::Kind;
use weights::TensorStore;

use crate::common::run;
use crate::scene::{ALL, R, largest_difference, merge, scene, shapes, write_adapter};

#[test]
fn embedding_and_head_grow_with_the_tokenizer() {
    for (shape, config) in shapes() {
        let scene = scene(&config, Kind::Float);
        write_adapter(&scene.path("adapter"), &config, &ALL, R, 0);
        let path = scene.path("model/tokenizer.json");
        let mut tokenizer: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let size = tokenizer["model"]["vocab"].as_object().unwrap().len() as i64;
        for id in size..config.vocab_size + 2 {
            tokenizer["added_tokens"].as_array_mut().unwrap().push(json!({
                "id": id, "content": format!("<|{id}|>"), "special": true, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false
            }));
        }
        std::fs::write(&path, tokenizer.to_string()).unwrap();
        let own = ["--base_model", "model", "--lora_weights", "adapter"];
        for (format, file) in [("hf", ""), ("state-dict", ""), ("gguf", "/model.gguf")] {
            let args = [&own as &[&str], &["--output_dir", format, "--format", format]].concat();
            let done = run(&mut merge(&scene, &args)).ok();
            assert!(done.stderr.contains("extended vocabulary size to 106"), "{shape}: {}", done.stderr);
            let back = format!("{format}{file}");
            let args = ["--base_model", &back, "--output_dir", "back", "--overwrite_output_dir"];
            run(&mut merge(&scene, &args)).ok();
            let (after, before) = (
                TensorStore::open(&scene.path("back")).unwrap(),
                TensorStore::open(&scene.path("model")).unwrap(),
            );
            for name in
                ["model.embed_tokens.weight", "lm_head.weight"].into_iter().filter(|n| before.contains(n))
            {
                let (after, before) = (after.tensor(name).unwrap(), before.tensor(name).unwrap());
                assert_eq!(after.size(), [106, 32]);
                assert_eq!(after.narrow(0, 0, 104), before);
                let mean = before.mean_dim(0, false, Kind::Double);
                assert!(largest_difference(&after.get(105), &mean) < 1e-6);
            }
            let config = std::fs::read_to_string(scene.path("back/config.json")).unwrap();
            assert!(config.contains("\"vocab_size\": 106"), "{config}");
        }
    }
}
