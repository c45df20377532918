//! What all pages share: the frame around their content.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::stream::Part;

/// The browser's icon, so that it asks for none.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E\
                    %3Crect width='8' height='8' rx='2' fill='%23c2700f'/%3E%3C/svg%3E";

/// The frame of a page.
pub(crate) struct Frame<'a> {
    /// In the browser's title bar.
    pub(crate) title: &'a str,
    /// Beside the program's name: what is looked at.
    pub(crate) subject: &'a str,
    /// At the right of that, where something is.
    pub(crate) aside: Markup,
    /// At the end of the page.
    pub(crate) footer: Markup,
}

impl Frame<'_> {
    /// A whole page.
    pub(crate) fn around(self, content: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { "Quarry " (self.subject) ": " (self.title) }
                    link rel="icon" href=(ICON);
                    link rel="stylesheet" href="/style.css";
                    script src="/live.js" defer {}
                }
                body {
                    header {
                        h1 { a href="/" { "Quarry" } }
                        span.quiet { (self.subject) }
                        span.lost { "connection lost" }
                        (self.aside)
                    }
                    main { (content) }
                    footer.quiet { (self.footer) }
                }
            }
        }
    }
}

/// A part of a page that is kept up to date.
pub(crate) fn part((id, content): &Part) -> Markup {
    html! { div id=(id) data-live { (PreEscaped(content)) } }
}
