"""Roads on which programs reach a twin: in process (PyVISA, pyserial) and over the wire (TCP, HiSLIP, pty, ZeroMQ)."""
