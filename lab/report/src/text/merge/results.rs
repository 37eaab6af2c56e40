//! Tables and plots.

use super::speed::ratio;
use super::verdict::{Agreement, Verdict, judge};
use crate::document::{Column, Row};
use crate::format::{NONE, bytes, or_none, percent, significant, spread, with_interval};
use crate::lang::say;
use crate::page::Page;
use crate::plots::{Axis, Chart, Content, Draw, Scale, Series};
use crate::results::{Select, Variant};
use crate::stats::summary;
use crate::text::common::{bars, checks_table, exact_against_reference, number, peak_mib, text, unit_of};

pub(crate) fn results(page: &mut Page<'_>) {
    let lang = page.lang;
    page.doc.heading(1, lang.pick("Results", "结果"));
    let checks = super::discussion::checks(page);
    checks_table(page, &checks);
    agreement(page);
    let chart = distribution(page);
    page.figure(
        chart,
        lang.pick(
            "How logits differ from those of the unmerged adapter: the part of them whose difference is at most x. A line that \
             rises at the left is a model that says the same.",
            "logit 与未合并适配器之差的累积分布：差异不超过横轴数值的 logit 所占比例。曲线在左侧就升高，表示模型输出一致。",
        ),
    );
    quality(page);
    cost(page);
    let label = page.chart_lang.pick("decoding speed, tokens/s", "解码速度（token/s）");
    let chart = bars(page, "decode-speed", "decode_tokens_per_s", 1.0, label);
    page.figure(
        chart,
        lang.pick(
            "Decoding speed: a mark for each run; bar and number give the median.",
            "解码速度：每个标记为一次运行，条形与数值为中位数。",
        ),
    );
    let label = page.chart_lang.pick("peak memory of the process, MiB", "进程内存峰值（MiB）");
    let chart = bars(page, "peak-memory", "peak_host_mib", 1.0, label);
    page.figure(
        chart,
        lang.pick(
            "Peak memory on the host: a mark for each run; bar and number give the median.",
            "主机内存峰值：每个标记为一次运行，条形与数值为中位数。",
        ),
    );
    let label = page.chart_lang.pick("peak memory on the device, MiB", "显存峰值（MiB）");
    let chart = bars(page, "device-memory", "peak_device_mib", 1.0, label);
    page.figure(
        chart,
        lang.pick(
            "Peak memory on the device: a mark for each run; bar and number give the median.",
            "显存峰值：每个标记为一次运行，条形与数值为中位数。",
        ),
    );
    let (unit, per_second) = unit_of(page.results, None, "load_s");
    let label = say!(page.chart_lang, "time to load, {unit}", "加载时间（{unit}）");
    let chart = bars(page, "load-time", "load_s", per_second, &label);
    page.figure(
        chart,
        lang.pick(
            "Time to load the model: a mark for each run; bar and number give the median.",
            "模型加载时间：每个标记为一次运行，条形与数值为中位数。",
        ),
    );
}

fn rows(page: &Page<'_>, cells: impl Fn(&Variant) -> Vec<String>) -> Vec<Row> {
    let row = |variant: &Variant| {
        let mut row: Row = vec![text(variant.label(page.lang))];
        row.extend(cells(variant).into_iter().map(number));
        row
    };
    page.results.ran().into_iter().map(row).collect()
}

fn agreement(page: &mut Page<'_>) {
    let (lang, results) = (page.lang, page.results);
    let columns = vec![
        Column::words(lang.pick("variant", "方案")),
        Column::number(lang.pick("equal tokens", "相同 token")),
        Column::number(lang.pick("largest logit difference", "logit 最大差异")),
        Column::number(lang.pick("mean KL, nats", "平均 KL（nat）")),
        Column::number(lang.pick("first token that differs", "首个不同 token")),
        Column::number(lang.pick("weights changed", "变化的权重")),
        Column::words(lang.pick("verdict", "结论")),
    ];
    let rows = rows(page, |variant| {
        let verdict = judge(results, variant);
        if verdict == Verdict::Reference {
            return vec![
                NONE.into(),
                NONE.into(),
                NONE.into(),
                NONE.into(),
                NONE.into(),
                named(page, verdict),
            ];
        }
        let found = Agreement::of(results, &variant.name);
        let first = match (found.first, found.tokens) {
            (None, Some(tokens)) if tokens >= 1.0 => lang.pick("none", "无").to_owned(),
            (first, _) => or_none(first, |first| format!("{first:.0}")),
        };
        vec![
            or_none(found.tokens, percent),
            or_none(found.logit, |value| significant(value, 2)),
            or_none(found.kl, |value| significant(value, 2)),
            first,
            or_none(found.changed, percent),
            named(page, verdict),
        ]
    });
    page.table(
        lang.pick(
            "Agreement with the unmerged adapter, the worst of all runs.",
            "与未合并适配器的一致性（各次运行中的最差值）。",
        ),
        &columns,
        &rows,
    );
}

/// A verdict in a word or two.
fn named(page: &Page<'_>, verdict: Verdict) -> String {
    let lang = page.lang;
    match verdict {
        Verdict::Reference => lang.pick("reference", "基准"),
        Verdict::Base => lang.pick("control", "对照"),
        Verdict::Unmeasured => lang.pick("not compared", "未比较"),
        Verdict::Same => lang.pick("equal", "一致"),
        Verdict::Rounded => lang.pick("equal in 16 bits", "16 位下一致"),
        Verdict::EqualsBase => lang.pick("is the base", "等于基座"),
        Verdict::Quantised => lang.pick("quantised", "量化"),
        Verdict::Wrong(_) => lang.pick("wrong", "错误"),
    }
    .to_owned()
}

fn quality(page: &mut Page<'_>) {
    let (lang, results) = (page.lang, page.results);
    let columns = vec![
        Column::words(lang.pick("variant", "方案")),
        Column::number(lang.pick("perplexity", "困惑度")),
        Column::number(lang.pick("exact match", "精确匹配")),
        Column::number("ROUGE-L"),
        Column::number(lang.pick("right where the adapter is not", "仅本方案正确")),
        Column::number(lang.pick("wrong where the adapter is right", "仅适配器正确")),
        Column::number(lang.pick("p, sign test", "符号检验 p")),
    ];
    let rows = rows(page, |variant| {
        let name = variant.name.as_str();
        let values = |metric| summary(&results.values(Select::all(name), metric));
        let against = (name != results.experiment.reference)
            .then(|| exact_against_reference(results, Select::all(name)))
            .flatten();
        vec![
            spread(values("perplexity"), |value| significant(value, 4)),
            spread(values("exact_match"), percent),
            spread(values("rouge_l"), |value| format!("{value:.3}")),
            or_none(against.map(|against| against.only_variant as f64), |count| format!("{count:.0}")),
            or_none(against.map(|against| against.only_reference as f64), |count| format!("{count:.0}")),
            or_none(against.map(|against| against.p), |p| significant(p, 2)),
        ]
    });
    page.table(
        lang.pick(
            "Quality: perplexity on the evaluation file (less is better), answers against the references (more is better). The last three columns compare the records whose texts are in the results.",
            "质量：评测集困惑度（越低越好）以及与参考答案的比较（越高越好）。最后三列逐条比较结果文件中保存了文本的记录。",
        ),
        &columns,
        &rows,
    );
}

fn cost(page: &mut Page<'_>) {
    let (lang, results) = (page.lang, page.results);
    let ((load_unit, load), (first_unit, first)) =
        (unit_of(page.results, None, "load_s"), unit_of(page.results, None, "first_token_s"));
    let columns = vec![
        Column::words(lang.pick("variant", "方案")),
        Column::number(lang.pick("on disk", "磁盘")),
        Column::number(lang.pick("peak memory, MiB", "内存峰值（MiB）")),
        Column::number(lang.pick("on the device, MiB", "显存峰值（MiB）")),
        Column::number(say!(lang, "load,\u{a0}{load_unit}", "加载（{load_unit}）")),
        Column::number(say!(lang, "first token,\u{a0}{first_unit}", "首 token（{first_unit}）")),
        Column::number(lang.pick("decoding, tokens/s", "解码（token/s）")),
        Column::number(lang.pick("ratio to adapter [95\u{a0}%]", "与适配器之比 [95\u{a0}%]")),
    ];
    let rows = rows(page, |variant| {
        let name = variant.name.as_str();
        let values = |metric| summary(&results.values(Select::all(name), metric));
        let middle = |metric| values(metric).map(|found| found.median);
        let peak = |metric| peak_mib(results, Select::all(name), metric);
        let speed = (name != results.experiment.reference)
            .then(|| ratio(results, name, "decode_tokens_per_s"))
            .flatten();
        vec![
            or_none(middle("disk_bytes"), bytes),
            peak("peak_host_mib"),
            peak("peak_device_mib"),
            or_none(middle("load_s"), |value| significant(value * load, 3)),
            or_none(middle("first_token_s"), |value| significant(value * first, 3)),
            spread(values("decode_tokens_per_s"), |value| significant(value, 3)),
            speed.map_or(NONE.to_owned(), |found| with_interval(&found, |value| format!("{value:.2}"))),
        ]
    });
    page.table(
        lang.pick(
            "Cost: medians, and in brackets the smallest and the largest of the repeated runs.",
            "开销：中位数，括号内为重复运行的最小值与最大值。",
        ),
        &columns,
        &rows,
    );
}

/// The distribution of logit differences.
fn distribution(page: &Page<'_>) -> Chart {
    let results = page.results;
    let mut series = Vec::new();
    for (style, variant) in results.experiment.variants.iter().enumerate() {
        let cells = results.cells_of(Select::all(&variant.name));
        let mut values: Vec<f64> = cells.flat_map(|cell| cell.sample("logit_diff")).map(f64::abs).collect();
        if values.is_empty() || variant.name == results.experiment.reference {
            continue;
        }
        values.sort_by(f64::total_cmp);
        let steps = 200.min(values.len());
        let points = (0..=steps).map(|step| {
            let index = (step * (values.len() - 1)) / steps;
            (values[index], 100.0 * (index + 1) as f64 / values.len() as f64)
        });
        let points = points.collect();
        series.push(Series {
            label: variant.label(page.chart_lang),
            style,
            points,
            ranges: vec![],
            draw: Draw::Line,
        });
    }
    // Equal logits have no place on a logarithmic axis: they stand a decade left of the smallest that differ.
    let all = series.iter().flat_map(|series| series.points.iter().map(|point| point.0));
    let least = all.filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
    let floor = if least.is_finite() { least.max(1e-12) / 10.0 } else { 1e-9 };
    let most =
        series.iter().flat_map(|series| &series.points).fold(floor * 10.0, |most, point| most.max(point.0));
    for series in &mut series {
        series.points.iter_mut().for_each(|point| point.0 = point.0.max(floor));
        series.points.insert(0, (series.points[0].0, 0.0));
        series.points.push((most, 100.0));
    }
    let lang = page.chart_lang;
    let x = Axis::new(lang.pick("absolute difference of a logit", "logit 差异的绝对值"), Scale::Log);
    let y = Axis::new(
        lang.pick("logits that differ by at most x, %", "差异不超过横轴的比例（%）"),
        Scale::FromZero,
    );
    Chart { stem: "logit-differences".to_owned(), content: Content::Curves { x, y, series } }
}
