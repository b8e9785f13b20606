//! TCP as a [`Transport`]: the glue to `parlor-transport-tcp`.

use std::io;

use parlor_transport_tcp::{self as tcp, FrameReader, FrameWriter, Listener};

use super::frames::{Arrival, FrameSink, FrameSource, Frames, Link, Transport};

impl Transport for Listener {
    type Source = FrameReader;
    type Sink = FrameWriter;

    async fn accept(&mut self) -> Link<FrameReader, FrameWriter> {
        let connection = Listener::accept(self).await;
        let address = Some(connection.origin.ip().to_canonical());
        let (source, sink) = connection.split();
        Link {
            address,
            source,
            sink,
        }
    }
}

impl FrameSource for FrameReader {
    async fn ready(&mut self) -> io::Result<()> {
        FrameReader::ready(self).await
    }

    async fn read(&mut self, frames: &mut Frames) -> io::Result<Arrival> {
        let arrival = FrameReader::read(self, |frame| frames.push(frame)).await?;
        Ok(match arrival {
            tcp::Arrival::Frames => Arrival::Frames,
            tcp::Arrival::TooLarge => Arrival::TooLarge,
            tcp::Arrival::End => Arrival::End,
        })
    }
}

impl FrameSink for FrameWriter {
    async fn write(&mut self, frames: &Frames, position: usize) -> io::Result<usize> {
        let rest = frames.as_bytes().get(position..).unwrap_or_default();
        Ok(position + self.write_some(rest).await?)
    }

    fn try_write(&mut self, frames: &Frames, position: usize) -> io::Result<usize> {
        let rest = frames.as_bytes().get(position..).unwrap_or_default();
        Ok(position + FrameWriter::try_write(self, rest)?)
    }

    async fn close(self) {
        FrameWriter::close(self).await;
    }

    fn abort(self) {
        FrameWriter::abort(&self);
    }
}
