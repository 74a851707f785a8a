"""What happens to RTP packets between the network and the decoders: order, repair, frames, statistics.

Pure logic: no sockets, no timers, no WebRTC library. Time is given to it, in seconds on the run's scale of arrivals.
"""
