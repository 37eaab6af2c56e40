//! How the workspace does it, with its code.

use crate::excerpt::Item;
use crate::page::Page;

pub(crate) fn implementation(page: &mut Page<'_>) {
    let lang = page.lang;
    page.doc.heading(1, lang.pick("Implementation", "实现思路与代码"));
    page.doc.heading(2, "LoRA");
    page.doc.paragraph(lang.pick(
        "The base's matrix W is frozen; A (r rows) and B (r columns) are trained. B begins at zero, so that training begins at the base:",
        "基座矩阵 W 冻结，只训练 A（r 行）与 B（r 列）。B 初始为零，因此训练从基座本身开始：",
    ));
    page.doc.formula("y = W x + (α / r) · B (A · dropout(x))");
    page.doc.paragraph(lang.pick(
        "The layer wraps any other: it does not know whether its base is dense or quantised.",
        "该层可以包裹任何其他线性层，并不关心基座是全精度还是量化的。",
    ));
    page.excerpt(Item::inside("crates/lora/src/linear.rs", "impl LinearOp for LoraLinear", "fn forward("));
    page.doc.heading(2, lang.pick("QLoRA: four bits a weight", "QLoRA：每个权重 4 比特"));
    page.doc.paragraph(lang.pick(
        "Weights are cut into blocks of 64. Each block keeps its largest magnitude as a scale, and each weight becomes the nearest of 16 \
         values. Those of NF4 are quantiles of a normal distribution, since that is how trained weights are distributed. That is 4 bits and a \
         32-bit scale for 64 weights: 4.5 bits a weight, against 32 or 16. Double quantisation keeps the scales in 8 bits, less their mean, and comes to \
         about 4.13 bits.",
        "权重按每 64 个分块。每块保存绝对值的最大值作为缩放系数，每个权重取 16 个码值中最接近的一个。NF4 \
         的码值是正态分布的分位数，因为训练好的权重近似服从正态分布。每个权重 4 比特，加上每 64 个权重一个 32 比特的缩放系数，\
         合计每权重 4.5 比特（全精度为 32 或 16 比特）。双重量化把缩放系数减去均值后再以 8 比特保存，合计约 4.13 比特。",
    ));
    page.doc.formula("c = argmin |w / s − t(c)|,   s = max |w| ;     ŵ = s · t(c)");
    page.excerpt(Item::new("crates/qlora-nf4/src/schemes/nf4.rs", "pub(super) static SCHEME:"));
    page.excerpt(Item::new("crates/kernels/src/blocks4/quantize.rs", "fn encode_block("));
    page.excerpt(Item::inside("crates/kernels/src/data/blocks4.rs", "impl Scales", "pub(crate) fn nest("));
    page.doc.heading(2, lang.pick("Forward and backward through codes", "基于量化码的前向与反向传播"));
    page.doc.paragraph(lang.pick(
        "Codes have no gradient and need none: the base is frozen. The forward pass dequantises a tile of the weight, multiplies, and forgets it; the backward \
         pass, which carries the gradient on to the adapters below, dequantises again. No dense copy is ever kept.",
        "量化码没有梯度，也不需要梯度，因为基座是冻结的。前向传播每次反量化权重的一小块，相乘后即丢弃；反向传播要把梯度传给更低层的适配器，\
         因此再反量化一次。任何时候都不保留完整的稠密副本。",
    ));
    page.excerpt(Item::inside(
        "crates/qlora-nf4/src/linear.rs",
        "impl LinearOp for QuantLinear",
        "fn forward(",
    ));
    page.excerpt(Item::new("crates/qlora-nf4/src/product.rs", "pub(crate) fn transposed_product("));
    if page.results.variant("int8").is_some() {
        page.doc.paragraph(lang.pick(
            "The eight-bit variant keeps whole numbers from −127 to 127 and one scale for each row (LLM.int8()): 8 bits a weight.",
            "8 比特方案保存 −127 到 127 的整数以及每行一个缩放系数（LLM.int8()），每权重 8 比特。",
        ));
    }
}
