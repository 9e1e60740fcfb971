
export default {
  render({ model, el }) {
    let shown = null;
    const draw = () => {
      const canvas = document.createElement("div");
      canvas.id = `attention-${Math.random().toString(36).slice(2)}`;
      canvas.style.maxWidth = "28rem"; // a few tokens need no whole page
      shown = canvas;
      el.replaceChildren(canvas);
      const properties = model.get("properties");
      const show = () => {
        if (shown !== canvas) return; // replaced, or taken down
        if (!canvas.isConnected) requestAnimationFrame(show); // circuitsvis finds its place by its id in the document
        else CircuitsVis.render(canvas.id, CircuitsVis.AttentionPattern, { zoomed: true, ...properties });
      };
      if (properties.tokens) show();
    };
    model.on("change:properties", draw);
    draw();
    return () => {
      shown = null;
      model.off("change:properties", draw);
    };
  },
};
