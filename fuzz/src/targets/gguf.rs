//! GGUF files: metadata, tensors of every type, configuration and tokenizer.

use checkpoint::Base;
use weights::GgufFile;

use super::tensors;
use super::tokenizer::use_tokenizer;
use crate::Target;
use crate::files::directory;
use crate::seeds::goldens;

pub(super) const TARGET: Target = Target {
    name: "gguf",
    reads: "`*.gguf`: `weights::GgufFile`, every tensor; `checkpoint::Base`, its configuration, tokenizer and chat template",
    limit_s: 4,
    seeds: || {
        let files = goldens!(
            "weights/tests/goldens/gguf/metadata.gguf",
            "weights/tests/goldens/gguf/refused.gguf",
            "weights/tests/goldens/gguf/types.gguf",
            "checkpoint/tests/goldens/gguf/tied_linear.gguf",
            "checkpoint/tests/goldens/gguf/qwen3.gguf",
        );
        files.map(<[u8]>::to_vec).to_vec()
    },
    run: |bytes| {
        let path = directory("gguf", &[("model.gguf", bytes)]).join("model.gguf");
        let file = GgufFile::open(&path)?;
        let mut refused = Ok(());
        for name in file.names().take(64) {
            if file.info(name)?.shape.iter().product::<i64>() <= 1 << 20 {
                // A tensor that is refused does not keep the others from being read.
                match file.tensor(name, None) {
                    Ok(tensor) => tensors::read(&tensor)?,
                    Err(error) => refused = Err(error),
                }
            }
        }
        let base = Base::open(&path.to_string_lossy())?;
        let weights = base.check_weights();
        base.chat_template()?;
        use_tokenizer(&base.tokenizer()?)?;
        weights?;
        Ok(refused?)
    },
};
