// Janode imports this for its Unix socket transport, which is not used here; the real one would have to be compiled.
exports.createSocket = () => {
	throw new Error('Unix sockets are left out');
};
