use super::*;

#[test]
fn texts_are_escaped_and_data_ends_no_script() {
    assert_eq!(
        escaped("<a href='x'>&\"</a>"),
        "&lt;a href=&#39;x&#39;&gt;&amp;&quot;&lt;/a&gt;"
    );
    let json = serde_json::json!({"</script><!--": "<script>"}).to_string();
    let data = script_data(&json);
    assert!(!data.contains('<'), "{data}");
    let back: serde_json::Value = serde_json::from_str(&data).expect("JSON");
    assert_eq!(back.to_string(), json);
}

#[test]
fn no_script_of_the_page_ends_early() {
    for script in [SCRIPT, CHARTS] {
        assert!(!script.contains("</script") && !script.contains("<!--"));
    }
    assert!(!STYLE.contains("</style"));
}
