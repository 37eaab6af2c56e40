//! What is asked, and how it is answered.

use crate::format::grouped;
use crate::lang::{Lang, say};
use crate::page::Page;
use crate::text::common::{settings_table, variants_table};

pub(crate) fn question(page: &mut Page<'_>) {
    let lang = page.lang;
    page.doc.heading(1, lang.pick("Question", "问题"));
    page.doc.paragraph(lang.pick(
        "LoRA trains two narrow matrices beside each frozen one; QLoRA also keeps the frozen ones in four bits (or eight). That \
         saves memory and costs arithmetic, since weights are dequantised at every use. **How do the two compare in memory, speed and \
         quality, and how does that change with the amount of data?**",
        "LoRA 在每个冻结矩阵旁训练两个低秩矩阵；QLoRA 进一步把冻结的权重以 4 比特（或 8 \
         比特）保存。这样节省内存，但每次使用权重都要反量化，增加了计算量。**两者在内存、速度和质量上相差多少？随数据规模如何变化？**",
    ));
    variants_table(page);
}

pub(crate) fn method(page: &mut Page<'_>) {
    let (lang, experiment) = (page.lang, &page.results.experiment);
    let sizes: Vec<String> = page.results.sizes().iter().map(|size| grouped(*size as f64, 0)).collect();
    let sizes = if sizes.is_empty() { "–".to_owned() } else { lang.list(&sizes) };
    let seeds = experiment.seeds.len();
    let with_seeds = match (lang, seeds) {
        (Lang::En, 1) => "one seed, which decides".to_owned(),
        (Lang::En, _) => format!("{seeds} seeds, which decide"),
        (Lang::Zh, 1) => "全部实验只用 1 个随机种子".to_owned(),
        (Lang::Zh, _) => format!("全部实验用 {seeds} 个随机种子重复"),
    };
    page.doc.heading(1, lang.pick("Method", "方法"));
    page.doc.paragraph(say!(
        lang,
        "Every variant is fine-tuned on slices of {sizes} records of one data set. The slices are nested (a larger one begins \
         with the smaller ones), in the same order and with the same settings, so that variants differ in nothing but how the base is kept. \
         All of it is done with {with_seeds} how the adapters begin, the order of the data, and dropout. Each run is a \
         process of its own; its peak memory is that of the whole process.",
        "每个方案分别在同一数据集的 {sizes} 条记录上微调。各数据子集逐级包含（较大的子集以较小的子集开头），顺序与其余设置完全相同，\
         因此各方案之间只有基座的保存方式不同。{with_seeds}，种子决定适配器的初值、数据顺序与 \
         dropout。每次运行都是独立进程，内存峰值为整个进程的峰值。",
    ));
    settings_table(page);
    let distance = if seeds == 1 {
        lang.pick(
            "**Distance from LoRA** is the difference (variant less LoRA) with the same seed. One seed gives no interval, so no difference \
             can be told from noise.",
            "**与 LoRA 的差距**：相同种子下该方案与 LoRA 之差。单个种子没有置信区间，任何差异都无法与噪声区分。",
        )
    } else {
        lang.pick(
            "**Distance from LoRA** is the mean over seeds of paired differences (variant less LoRA), with its 95\u{a0}% confidence interval \
             (Student's t). An interval around 0 is reported as no difference beyond noise; its ends say what can still not be excluded.",
            "**与 LoRA 的差距**：按种子配对之差（该方案减 LoRA）的均值及其 95\u{a0}% 置信区间（t 分布）。若区间包含 0，则报告为“没有超出噪声的差异”，区间端点表示尚不能排除的差异大小。",
        )
    };
    page.doc.list([
        lang.pick(
            "**Speed-up** is the training time of LoRA over that of the variant, with the same seed and data: above 1, the variant is faster.",
            "**加速比**：相同种子与数据下，LoRA 训练时间与该方案训练时间之比；大于 1 表示该方案更快。",
        ),
        distance,
        lang.pick(
            "**Scaling**: training time against records is fitted by a straight line, validation loss against records by a power law \
             (a line in the logarithms of both). R² is the part of the variance that the fit explains.",
            "**规模规律**：训练时间对数据量作线性拟合，验证损失对数据量作幂律拟合（双对数坐标下的直线）。R² 为拟合所解释的方差比例。",
        ),
    ]);
}
