//! Text in HTML: escaping, and the elements that the page repeats.

/// A text as HTML shows it, in an element or in a quoted attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

/// A JSON document that can stand in a `<script>`: it holds no `<`, so neither `</script>` nor
/// `<!--`. JSON has `<` in strings alone, where `\u003c` is the same letter.
pub(super) fn script_data(json: &str) -> String {
    json.replace('<', "\\u003c")
}

/// A table whose cells are HTML. The columns numbered in `right` hold numbers.
pub(super) fn table(header: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    // Most tables are a name and numbers, and a page has thousands of their cells.
    let is_numeric = header.len() > 1 && (1..header.len()).all(|at| right.contains(&at));
    let class = |at: usize| match right.contains(&at) && !is_numeric {
        true => " class=\"n\"",
        false => "",
    };
    let numeric = if is_numeric { " class=\"num\"" } else { "" };
    let mut html = format!("<div class=\"scroll\"><table{numeric}><thead><tr>");
    for (at, name) in header.iter().enumerate() {
        html.push_str(&format!("<th{}>{}</th>", class(at), escaped(name)));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            html.push_str(&format!("<td{}>{cell}</td>", class(at)));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    html
}

/// A chart, which the script draws from the document of the page, and the table of the same
/// numbers.
pub(super) struct Figure<'a> {
    /// The function of the script that draws it.
    pub(super) chart: &'a str,
    /// The position of the table or job in the document.
    pub(super) of: usize,
    /// The heading.
    pub(super) title: &'a str,
    /// What the chart shows, for whoever does not see it.
    pub(super) describes: String,
    /// Whether two of them stand beside each other.
    pub(super) is_half: bool,
    /// The colours and what they mean.
    pub(super) legend: &'a [(&'a str, &'a str)],
    /// The table, as HTML.
    pub(super) table: String,
    /// Whether the table has a line for each month, and not for each date.
    pub(super) is_by_month: bool,
    /// What else is to be said, as HTML.
    pub(super) note: Option<String>,
}

impl Figure<'_> {
    pub(super) fn html(&self) -> String {
        let Figure {
            chart,
            of,
            title,
            table,
            ..
        } = self;
        let half = if self.is_half { " half" } else { "" };
        let legend: String = self
            .legend
            .iter()
            .map(|(color, name)| {
                format!("<li><i class=\"{color}\" style=\"--of:var(--{color})\"></i>{name}</li>")
            })
            .collect();
        let legend = match legend.is_empty() {
            true => legend,
            false => format!("<ul class=\"legend\">{legend}</ul>"),
        };
        let by = if self.is_by_month { "month" } else { "date" };
        let summary = match self.is_by_month {
            true => "Table, by month",
            false => "Table",
        };
        let note = self
            .note
            .as_deref()
            .map_or_else(String::new, |note| format!("<p class=\"note\">{note}</p>"));
        let describes = escaped(&self.describes);
        format!(
            "<section class=\"chart{half}\" data-chart=\"{chart}\" data-of=\"{of}\" data-view=\"chart\">\
             <header><h3>{title}</h3><span class=\"switch needs-js\" role=\"group\" aria-label=\"View of {title}\">\
             <button type=\"button\" value=\"chart\" aria-pressed=\"true\">Chart</button>\
             <button type=\"button\" value=\"table\" aria-pressed=\"false\">Table</button></span></header>\
             {legend}<div class=\"plot\" role=\"img\" aria-label=\"{describes}\"></div>\
             <details class=\"as-table\" data-by=\"{by}\"><summary>{summary}</summary>{table}</details>{note}</section>\n"
        )
    }
}
