//! The tools: one that takes its time.

use std::time::Duration;

use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    ProgressNotificationParam, RequestMetaObject, ResourceUpdatedNotificationParam,
    ServerCapabilities, ServerConfig,
};
use rmcp::{Peer, RoleServer, ServerHandler, schemars, tool, tool_handler, tool_router};
use serde::Deserialize;
use tokio::time::sleep;

/// Writes reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reports;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct Report {
    /// How long it takes, in seconds.
    seconds: u32,
}

#[tool_router]
impl Reports {
    #[tool(description = "Writes a report, which takes some seconds")]
    async fn report(
        &self,
        Parameters(Report { seconds }): Parameters<Report>,
        meta: RequestMetaObject,
        client: Peer<RoleServer>,
    ) -> String {
        // A client that is gone is told nothing, and the report is written all the same.
        let draft = ResourceUpdatedNotificationParam::new("report://draft");
        let _ = client.notify_resource_updated(draft).await;
        for second in 0..seconds {
            if let Some(token) = meta.get_progress_token() {
                let progress = ProgressNotificationParam::new(token, second.into());
                let _ = client.notify_progress(progress.with_total(seconds.into())).await;
            }
            sleep(Duration::from_secs(1)).await;
        }
        format!("written in {seconds} s")
    }
}

#[tool_handler]
impl ServerHandler for Reports {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_resources().build())
    }
}
