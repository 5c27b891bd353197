//! The figures in the terminal.

use anyhow::Result;
use overread_learn::Validation;
use overread_learn::figures::Figures;
use overread_learn::page::text::{interval, name_of, p_value, percent, predictive, share, short};
use overread_learn::record::FindingValidation;

use crate::table;

/// Prints a record.
pub fn print(record: &Validation) -> Result<()> {
    let pack = &record.pack;
    table::print(&format!(
        "{} on {} cases ({} images), pack {} {}, edition {}; intervals are 95%",
        record.program,
        record.cases.cases,
        record.cases.images,
        pack.id,
        pack.version,
        short(&pack.edition)
    ))?;
    let mut rows = vec![("not assessed".to_owned(), share(&record.refusals.cases))];
    rows.extend(record.refusals.codes.iter().map(|r| (format!("  {}", r.code), share(&r.cases))));
    if record.cases.images > record.cases.cases {
        rows.push(("single images not assessed".to_owned(), share(&record.refusals.images)));
    }
    table::print(&table::named_rows(&rows))?;
    for finding in &record.findings {
        print_finding(finding)?;
    }
    for compared in record.comparison.iter().flat_map(|c| &c.findings) {
        let a = &compared.auroc;
        table::print(&format!(
            "\n{}: AUROC {} less here {}: {}, p {}",
            compared.label,
            interval(a.second, None, None, 4),
            interval(a.first, None, None, 4),
            interval(a.difference, a.low, a.high, 4),
            p_value(a.p)
        ))?;
    }
    for remark in &record.remarks {
        table::print(remark)?;
    }
    Ok(())
}

fn print_finding(finding: &FindingValidation) -> Result<()> {
    let at = percent(finding.prevalence);
    table::print(&format!("\n{} (predictive values at prevalence {at})", finding.label))?;
    table::print(&table::named_rows(&rows(&finding.cases)))?;
    if let Some(images) = &finding.images {
        table::print("single images")?;
        table::print(&table::named_rows(&rows(images)))?;
    }
    for s in &finding.subgroups {
        let auroc = &s.figures.auroc;
        let small = if s.figures.small { ", few cases" } else { "" };
        table::print(&format!(
            "  {} {}: AUROC {}, {} of {} positive{small}",
            s.column,
            s.value,
            interval(auroc.value, auroc.low, auroc.high, 4),
            s.figures.positives,
            s.figures.assessed
        ))?;
    }
    Ok(())
}

fn rows(figures: &Figures) -> Vec<(String, String)> {
    let auroc = &figures.auroc;
    let mut rows = vec![
        ("assessed (positive)".to_owned(), format!("{} ({})", figures.assessed, figures.positives)),
        ("AUROC".to_owned(), interval(auroc.value, auroc.low, auroc.high, 4)),
    ];
    rows.extend(auroc.note.iter().map(|note| (String::new(), note.clone())));
    for point in &figures.points {
        let at = format!("at {} ({:.4})", name_of(point.name), point.threshold);
        rows.push((format!("sensitivity {at}"), share(&point.sensitivity)));
        rows.push((format!("specificity {at}"), share(&point.specificity)));
        rows.push(("PPV".to_owned(), predictive(&point.ppv)));
        rows.push(("NPV".to_owned(), predictive(&point.npv)));
    }
    rows.push(("indeterminate".to_owned(), share(&figures.indeterminate)));
    if figures.small {
        rows.push((String::new(), "few cases: fewer than 20 positive or fewer than 20 negative".into()));
    }
    rows
}
