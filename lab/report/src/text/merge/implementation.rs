//! How the workspace does it, with its code.

use crate::excerpt::Item;
use crate::lang::say;
use crate::page::Page;
use crate::text::common::label_of;

pub(crate) fn implementation(page: &mut Page<'_>) {
    let lang = page.lang;
    page.doc.heading(1, lang.pick("Implementation", "实现思路与代码"));
    page.doc.heading(2, lang.pick("What an adapter adds", "适配器给权重加了什么"));
    page.doc.paragraph(lang.pick(
        "LoRA leaves the base's matrix W as it is and trains two narrow ones, A (r rows) and B (r columns). B begins at \
         zero, so training begins at the base. Unmerged, the layer computes:",
        "LoRA 冻结基座矩阵 W，只训练两个低秩矩阵 A（r 行）和 B（r 列）。B 初始为零，因此训练从基座本身开始。不合并时，该层计算：",
    ));
    page.doc.formula("y = W x + (α / r) · B (A x)");
    page.doc.paragraph(lang.pick("Merged, it is one matrix again:", "合并后又成为单个矩阵："));
    page.doc.formula("W′ = W + ΔW,   ΔW = (α / r) · B A");
    page.doc.paragraph(lang.pick(
        "The two are equal but for rounding. One function computes ΔW for every way of merging, in float32:",
        "除舍入误差外两者相等。所有合并方式都用同一个函数以 float32 计算 ΔW：",
    ));
    page.excerpt(Item::new("crates/lora/src/delta.rs", "pub fn delta_weight("));
    page.doc.paragraph(lang.pick(
        "The unmerged layer, which the merged ones are compared with, never forms ΔW:",
        "作为比较基准的未合并层从不生成 ΔW：",
    ));
    page.excerpt(Item::inside("crates/lora/src/linear.rs", "impl LinearOp for LoraLinear", "fn forward("));
    page.doc.heading(2, lang.pick("Merging, a few rows at a time", "合并：逐行流式处理"));
    page.doc.paragraph(lang.pick(
        "The base is read by memory map, a few rows at a time; the sum is taken in float32, rounded once to the precision of \
         the files and written at once. So memory does not depend on the size of the model. While it merges, it counts how \
         many elements really changed: a target that did not change, or anything else that did, is an error and no file.",
        "基座通过内存映射逐段读取；求和在 float32 中进行，只舍入一次到文件精度后立即写出，因此内存占用与模型大小无关。\
         合并的同时统计实际发生变化的元素：目标层没有变化，或其他张量发生了变化，都会报错且不产生输出文件。",
    ));
    page.excerpt(Item::inside("crates/kernels/src/delta.rs", "impl Lanes", "fn add<"));
    page.excerpt(Item::inside("crates/merge/src/proof.rs", "impl Proof", "pub(crate) fn check("));
    page.doc.heading(2, lang.pick("Two ways to write it", "两种输出格式"));
    page.doc.paragraph(lang.pick(
        "`merge_and_unload`'s result keeps Hugging Face's names and order of rows: `merge --format hf`. Meta's code rotates \
         neighbouring pairs of a head where Hugging Face rotates its two halves; for a state dict (`merge --format \
         state-dict`) rows of queries and keys therefore change places, and tensors get Meta's names. This is all that \
         the manual script's `unpermute` and `translate_state_dict_key` do:",
        "`merge_and_unload` 的结果保留 Hugging Face 的张量名称和行顺序（`merge --format hf`）。旋转位置编码在 Meta \
         代码中作用于相邻的两行，而 Hugging Face 作用于每个头的前后两半；因此写 state_dict（`merge --format \
         state-dict`）时，query 和 key 的行需要重新排列，张量改用 Meta 的名称。手动脚本中的 `unpermute` 与 \
         `translate_state_dict_key` 所做的正是这两件事：",
    ));
    page.excerpt(Item::new("crates/merge/src/rows.rs", "pub fn to_pairs("));
    page.excerpt(Item::new("crates/cli/src/merge/state_dict.rs", "fn placement("));
    if page.results.variant("legacy-script").is_some() {
        legacy(page);
    }
    if page.results.variant("nf4-merge").is_some() {
        page.doc.heading(2, lang.pick("Merging into a quantised base", "合并到量化基座"));
        page.doc.paragraph(lang.pick(
            "A QLoRA adapter was trained beside weights that went through NF4. Merged into the base as NF4 leaves it, it meets \
             the weights that it knows. Beside the full-precision base the same adapter meets slightly different ones, so here \
             agreement cannot be total; the table says how far apart the two are.",
            "QLoRA 适配器是在经过 NF4 量化的权重旁训练的。把它合并到“NF4 量化再反量化”后的基座，遇到的才是训练时的权重；\
             与全精度基座相比，权重略有不同，因此不可能完全一致，表中给出了差距。",
        ));
    }
}

/// The lab's script and what became of it.
fn legacy(page: &mut Page<'_>) {
    let lang = page.lang;
    let label = label_of(page, "legacy-script");
    page.doc.heading(
        2,
        lang.pick("The lab's manual script on a current PEFT", "实验指导书的手动脚本与当前版本的 PEFT"),
    );
    page.doc.paragraph(say!(
        lang,
        "The script sets `merge_weights = True` on each layer and calls `train(False)`. In PEFT before 0.3 that merged: the \
         layer's `train` method looked at the flag. Today the flag is an attribute that nobody reads. The script then \
         drops every key with `lora` in it and writes the rest, so “{label}” holds **the unchanged base**, \
         without any warning. Here it is run as it stands, and measured like the others.",
        "脚本将每层的 `merge_weights` 设为 `True`，再调用 `train(False)`。在 PEFT 0.3 之前，层的 `train` \
         方法会检查该标志并执行合并；而当前版本中没有任何代码读取它。脚本随后丢弃所有含 `lora` \
         的键并写出其余权重，于是“{label}”得到的是**未作任何改变的基座**，而且没有任何警告。这里按原样运行该脚本，并与其他方案一同测量。",
    ));
    page.doc.code(
        "python",
        "for layer in lora_model.base_model.model.model.layers:\n    layer.self_attn.q_proj.merge_weights = True\n    \
         layer.self_attn.v_proj.merge_weights = True\n\nlora_model.train(False)\nlora_model_sd = lora_model.state_dict()",
        lang.pick("The lab's script, shortened", "实验指导书的脚本（节选）"),
    );
}
