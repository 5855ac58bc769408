use tokio::net::{TcpListener, TcpStream};
use tonic::transport::server::Connected;

use super::*;
use crate::Shutdown;

/// What tonic asks of connections.
fn peer_of<T>(io: &T) -> T::ConnectInfo
where
    T: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    io.connect_info()
}

#[tokio::test]
async fn tonic_learns_the_address_of_the_client_of_a_guarded_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let guarded = Shutdown::new().guard(listener.accept().await.unwrap().0);
    assert_eq!(peer_of(&guarded).remote_addr(), client.local_addr().ok());
}
