//! The views, rendered by the server and hydrated in the browser.
